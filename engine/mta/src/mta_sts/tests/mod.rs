//! Policies found over real DNS and HTTPS on loopback.

pub(crate) mod world;

use policy::config::Dns;
use policy::tls_report::{Day, ResultType};

use self::world::{Page, World};
use super::*;
use crate::control::destination::{Ourselves, Reach};
use crate::https::HttpsFault;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const GOOD: &str = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 604800\n";

struct Scene {
    world: World,
    dir: tempfile::TempDir,
    reports: TlsReports,
    sts: MtaSts,
}

impl Scene {
    async fn new() -> Self {
        Self::with_certificate(&["mta-sts.a.test"]).await
    }

    async fn with_certificate(names: &[&str]) -> Self {
        let world = World::start(names).await;
        world.stage.announce("a.test", "v=STSv1; id=1;");
        world.stage.show(Page::policy(GOOD));
        let dir = tempfile::tempdir().expect("a directory");
        let reports = TlsReports::open(dir.path());
        let sts = opened(&world, dir.path(), &reports);
        Self { world, dir, reports, sts }
    }

    /// The mode of the policy that is found.
    async fn mode(&self, at: UnixMs) -> Option<Mode> {
        self.sts.find("a.test", at).await.map(|policy| policy.mode).ok()
    }

    /// Waits until nothing is looked at any more.
    async fn settled(&self) {
        while !self.sts.shared.lock().sought.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn failures(&self) -> Vec<(ResultType, String)> {
        let told = self.reports.policies(Day::of(NOW), Some("a.test"));
        let details = told.into_iter().flat_map(|policy| policy.failures);
        details.map(|detail| (detail.failure.result_type, detail.failure.failure_reason_code)).collect()
    }
}

fn opened(world: &World, dir: &Path, reports: &TlsReports) -> MtaSts {
    patient(world, dir, reports, Duration::from_millis(500))
}

fn patient(world: &World, dir: &Path, reports: &TlsReports, first_contact: Duration) -> MtaSts {
    let resolver = Resolver::new(&Dns { servers: vec![world.dns], ..Dns::default() }).expect("it is set up");
    let reach = Reach::new(Ourselves::default(), &["127.0.0.0/8".parse().expect("a network")]);
    let https = Https::new(resolver.clone(), Arc::clone(&world.roots), reach).with_port(world.https.port());
    MtaSts::with_first_contact(dir, resolver, https, reports.clone(), first_contact)
}

fn on_tokio<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

#[test]
fn a_policy_is_fetched_once_and_found_by_all_spellings() {
    on_tokio(async {
        let scene = Scene::new().await;
        let all = ["a.test", "A.Test", "a.test."].map(|domain| scene.sts.find(domain, NOW));
        for found in futures_util::future::join_all(all).await {
            let policy = found.expect("a policy");
            assert!(policy.allows("mx.a.test") && !policy.allows("mx.b.test"));
        }
        assert_eq!(scene.world.stage.requests(), 1);
        let request = scene.world.stage.requests.lock().expect("whole")[0].clone();
        let request = String::from_utf8(request).expect("ASCII").to_ascii_lowercase();
        assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nhost: mta-sts.a.test\r\n"), "{request}");
        assert!(scene.failures().is_empty());
        for none in ["b.test", "[127.0.0.1]", "", "a..b", "b.test/a.test"] {
            let none_for = scene.sts.find(none, NOW).await.expect_err(none);
            assert_eq!(none_for, if none == "b.test" { HOUR } else { Duration::MAX }, "{none}");
        }
        assert_eq!(scene.world.stage.requests(), 1);
    });
}

#[test]
fn what_is_not_a_policy_is_told_and_asked_for_again_after_five_minutes() {
    let redirect = "location: https://mta-sts.a.test/.well-known/other.txt\r\ncontent-type: text/plain\r\n";
    let plain = "content-type: text/plain\r\n";
    let long = format!("{GOOD}x: {}\n", "a".repeat(70_000));
    let endless = format!("HTTP/1.1 200 OK\r\n{plain}x: {}", "a".repeat(100_000));
    on_tokio(async {
        for (page, result, why) in [
            (Page::new("301 Moved", redirect, GOOD), ResultType::StsPolicyFetchError, "HTTP status 301"),
            (Page::new("404 Not Found", plain, GOOD), ResultType::StsPolicyFetchError, "HTTP status 404"),
            (Page::new("204 No Content", plain, ""), ResultType::StsPolicyFetchError, "HTTP status 204"),
            (
                Page::new("200 OK", "content-type: text/html\r\n", GOOD),
                ResultType::StsPolicyInvalid,
                "text/html",
            ),
            (Page::new("200 OK", "", GOOD), ResultType::StsPolicyInvalid, "media type"),
            (Page::new("200 OK", plain, &long), ResultType::StsPolicyInvalid, "too long"),
            (Page::policy("version: STSv1\n"), ResultType::StsPolicyInvalid, "no `mode`"),
            (Page::Says(b"220 mail.test ESMTP\r\n".to_vec()), ResultType::StsPolicyFetchError, "HTTP"),
            (Page::Says(endless.clone().into_bytes()), ResultType::StsPolicyFetchError, "HTTP"),
            (
                Page::Says(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 99\r\n\r\nversion"
                        .to_vec(),
                ),
                ResultType::StsPolicyFetchError,
                "HTTP",
            ),
        ] {
            let scene = Scene::new().await;
            scene.world.stage.show(page);
            assert_eq!(scene.mode(NOW).await, None, "{why}");
            let last = NOW + Duration::from_secs(299);
            assert_eq!(scene.sts.find("a.test", last).await, Err(Duration::from_secs(1)), "{why}");
            assert_eq!(scene.world.stage.requests(), 1, "the failure is remembered: {why}");
            let failures = scene.failures();
            assert_eq!((failures.len(), failures[0].0), (1, result), "{failures:?}");
            assert!(failures[0].1.contains(why), "{failures:?}");
            scene.world.stage.show(Page::policy(GOOD));
            assert_eq!(scene.mode(NOW + Duration::from_secs(300)).await, Some(Mode::Enforce));
        }
    });
}

#[test]
fn only_a_certificate_for_the_policy_host_is_believed() {
    on_tokio(async {
        for names in [&["a.test"][..], &["mta-sts.b.test"], &["*.test"], &["*.mta-sts.a.test"]] {
            let scene = Scene::with_certificate(names).await;
            assert_eq!(scene.mode(NOW).await, None, "{names:?}");
            assert_eq!(scene.failures()[0].0, ResultType::StsWebpkiInvalid, "{names:?}");
        }
        let scene = Scene::with_certificate(&["*.a.test"]).await;
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
    });
}

#[test]
fn an_authority_that_is_not_ours_is_not_believed() {
    on_tokio(async {
        let mut scene = Scene::new().await;
        let public = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        scene.world.roots = Arc::new(public);
        scene.sts = opened(&scene.world, scene.dir.path(), &scene.reports);
        assert_eq!(scene.mode(NOW).await, None);
        assert_eq!(scene.failures()[0].0, ResultType::StsWebpkiInvalid);
    });
}

#[test]
fn an_address_that_dns_must_not_name_is_not_dialled() {
    on_tokio(async {
        let scene = Scene::new().await;
        let resolver =
            Resolver::new(&Dns { servers: vec![scene.world.dns], ..Dns::default() }).expect("it is set up");
        let reach = Reach::new(Ourselves::default(), &[]);
        let https = Https::new(resolver.clone(), Arc::clone(&scene.world.roots), reach)
            .with_port(scene.world.https.port());
        let bounds = crate::https::Bounds { body_bytes_max: 9, time_max: HOUR };
        assert_eq!(https.get("https://mta-sts.a.test:8443/", bounds).await, Err(HttpsFault::Port));
        let refused = https.get("https://mta-sts.a.test/", bounds).await;
        assert_eq!(refused, Err(HttpsFault::Forbidden("mta-sts.a.test".to_owned())));
        assert_eq!(https.get("http://mta-sts.a.test/", bounds).await, Err(HttpsFault::Url));
        assert_eq!(scene.world.stage.requests(), 0);
    });
}

#[test]
fn a_host_that_does_not_answer_delays_mail_once_and_briefly() {
    on_tokio(async {
        let scene = Scene::new().await;
        scene.world.stage.show(Page::Silent);
        let none_for = scene.sts.find("a.test", NOW).await;
        assert_eq!(none_for, Err(SOUGHT), "it may come as soon as the mail has gone");
        let began = Instant::now();
        let waiting = (0..50).map(|_| scene.mode(NOW));
        assert!(futures_util::future::join_all(waiting).await.iter().all(Option::is_none));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(scene.world.stage.requests(), 1);
        let began = Instant::now();
        assert_eq!(scene.sts.find("b.test", NOW).await, Err(HOUR), "others are not held up");
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    });
}

#[test]
fn many_hosts_that_do_not_answer_do_not_keep_a_policy_from_being_found() {
    const HOSTILE: usize = 400;
    on_tokio(async {
        let mut scene = Scene::new().await;
        scene.sts = patient(&scene.world, scene.dir.path(), &scene.reports, FIRST_CONTACT);
        "mta-sts.a.test".clone_into(&mut scene.world.stage.only.lock().expect("whole"));
        let names: Vec<String> = (0..HOSTILE).map(|number| format!("n{number}.test")).collect();
        names.iter().for_each(|name| scene.world.stage.announce(name, "v=STSv1; id=1;"));
        for name in &names {
            drop(scene.sts.known(name, NOW));
        }
        while scene.world.stage.stalled.load(Ordering::SeqCst) < FETCHES_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
    });
}

#[test]
fn a_kept_policy_answers_at_once_and_a_new_id_is_noticed_within_the_hour() {
    on_tokio(async {
        let scene = Scene::new().await;
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
        scene.world.stage.show(Page::policy(&GOOD.replace("enforce", "testing")));
        let later = NOW + HOUR;
        assert_eq!(scene.mode(later).await, Some(Mode::Enforce));
        scene.settled().await;
        assert_eq!(scene.mode(later).await, Some(Mode::Enforce), "the id is the same: nothing was fetched");
        assert_eq!(scene.world.stage.requests(), 1);
        scene.world.stage.announce("a.test", "v=STSv1; id=2;");
        let later = NOW + 2 * HOUR;
        assert_eq!(scene.mode(later).await, Some(Mode::Enforce), "mail does not wait for the new one");
        scene.settled().await;
        assert_eq!(scene.mode(later).await, Some(Mode::Testing));
        assert_eq!(scene.world.stage.requests(), 2);
    });
}

#[test]
fn a_policy_outlives_its_record_its_host_and_a_restart_but_not_its_time() {
    on_tokio(async {
        let mut scene = Scene::new().await;
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
        scene.sts.save().expect("written");
        scene.sts = opened(&scene.world, scene.dir.path(), &scene.reports);
        scene.world.stage.texts.lock().expect("whole").clear();
        for (hours, dns_fails) in [(1, false), (30, true), (100, false), (167, true)] {
            scene.world.stage.dns_fails.store(dns_fails, Ordering::SeqCst);
            assert_eq!(scene.mode(NOW + hours * HOUR).await, Some(Mode::Enforce), "{hours} hours");
            scene.settled().await;
        }
        scene.world.stage.dns_fails.store(false, Ordering::SeqCst);
        scene.world.stage.announce("a.test", "v=STSv1; id=2;");
        scene.world.stage.show(Page::new("500 Broken", "", ""));
        let last = NOW + (168 * HOUR - Duration::from_secs(1));
        assert_eq!(scene.mode(last).await, Some(Mode::Enforce));
        scene.settled().await;
        assert_eq!(scene.mode(NOW + 168 * HOUR).await, None);
    });
}

#[test]
fn a_policy_is_refreshed_unasked_before_its_time_is_over() {
    on_tokio(async {
        let scene = Scene::new().await;
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
        for day in 1..20 {
            scene.sts.tend(NOW + 24 * day * HOUR);
            scene.settled().await;
        }
        assert_eq!(scene.world.stage.requests(), 20);
        let looked_up = scene.world.stage.looked_up.load(Ordering::SeqCst);
        assert_eq!(scene.mode(NOW + 24 * 19 * HOUR).await, Some(Mode::Enforce));
        assert_eq!(scene.world.stage.looked_up.load(Ordering::SeqCst), looked_up);
    });
}

#[test]
fn the_mode_none_is_no_policy_and_a_damaged_file_no_obstacle() {
    on_tokio(async {
        let mut scene = Scene::new().await;
        scene.world.stage.show(Page::policy("version: STSv1\nmode: none\nmax_age: 604800\n"));
        assert_eq!(scene.mode(NOW).await, None);
        assert_eq!(scene.mode(NOW).await, None);
        assert_eq!(scene.world.stage.requests(), 1);
        std::fs::write(scene.dir.path().join(file::NAME), "[{\"domain\":").expect("written");
        scene.sts = opened(&scene.world, scene.dir.path(), &scene.reports);
        scene.world.stage.show(Page::policy(GOOD));
        assert_eq!(scene.mode(NOW).await, Some(Mode::Enforce));
    });
}
