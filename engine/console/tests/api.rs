//! The API in front of a running engine with a receiver on loopback: what is handed in by HTTP arrives, and is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Console, Listeners};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use mta::Engine;
use report::Reporter;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A receiver that takes everything but mail for `refused@`, one reply per command.
fn receiver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || converse(&stream));
        }
    });
    address
}

fn converse(stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let mut say = stream;
    say.write_all(b"220 receiver.test\r\n").ok()?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let command = line.trim_end().to_ascii_uppercase();
        let reply = match command.get(..4)? {
            "DATA" => {
                say.write_all(b"354 go on\r\n").ok()?;
                let mut body = String::new();
                while body != ".\r\n" {
                    body.clear();
                    lines.read_line(&mut body).ok()?;
                }
                "250 2.0.0 taken as 4711"
            }
            "RCPT" if command.contains("REFUSED@") => "550 5.1.1 no such user",
            "QUIT" => "221 bye",
            _ => "250 2.0.0 ok",
        };
        say.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
}

struct Running {
    _dir: tempfile::TempDir,
    engine: Engine,
    reporter: Reporter,
    address: SocketAddr,
    control: PathBuf,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let receiver = receiver();
        let text = format!(
            "[node]\nname = \"engine.test\"\ndata_dir = \"{data}\"\nshards = 2\ncontrol = \"{data}/control.sock\"\n\
             [spool]\nmin_free = \"1MiB\"\nsegment = \"16MiB\"\n\
             [http]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\ndomain = \"*\"\nhosts = [\"{receiver}\"]\n{more}",
            data = dir.path().display(),
        );
        let checked = policy::config::check("test.toml", &text);
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        let config = checked.config.unwrap_or_else(|| panic!("{}", problems.join("\n")));
        let config = Arc::new(config);
        let engine = Engine::start(Arc::clone(&config)).expect("started");
        let handle = engine.handle();
        let reporter = Reporter::start(dir.path(), handle.readers()).expect("started");
        let console = Console::new(handle, reporter.store()).expect("a console");
        let listeners = engine.runtime().block_on(Listeners::bind(&config)).expect("bound");
        let address = listeners.http_address().expect("an address");
        let control = listeners.control_path().to_owned();
        let (stop, stopped) = oneshot::channel();
        let served = engine.runtime().spawn(console::serve(console, listeners, async {
            let _ = stopped.await;
        }));
        Self { _dir: dir, engine, reporter, address, control, stop, served }
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> (u16, Value) {
        let body = body.into();
        let request = self.engine.runtime().block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address).await.expect("connected");
            exchange(TokioIo::new(stream), method, path, headers, body).await
        });
        let (status, text) = request;
        (status, serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text))))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &[("content-type", "application/json")], body.to_string())
    }

    /// Asks until `done` is content with the answer.
    fn wait_for(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.get(path);
            if done(&answer) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{path} stays {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(self) {
        self.stop.send(()).expect("it serves");
        self.engine.runtime().block_on(self.served).expect("served to the end");
        assert!(!self.control.exists());
        self.engine.stop();
        self.reporter.stop();
    }
}

async fn exchange<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: bytes::Bytes,
) -> (u16, Vec<u8>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a connection");
    tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a request");
    let response = sender.send_request(request).await.expect("answered");
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.expect("a body").to_bytes().to_vec())
}

fn letter() -> Value {
    json!({"from": "Shop <shop@s.test>", "to": ["ann@x.test", "refused@y.test"], "subject": "Hi", "text": "Hello",
           "tags": ["welcome"], "metadata": {"order": 7}})
}

#[test]
fn a_message_is_taken_delivered_and_told() {
    let running = Running::start("");
    assert_eq!(running.get("/healthz")["status"], "ok");
    let (status, taken) = running.post("/v1/messages", &letter());
    assert_eq!(status, 202, "{taken}");
    assert_eq!(taken["recipients"][0]["address"], "ann@x.test");
    let id = taken["id"].as_str().expect("an id");
    let ends = |view: &Value| {
        let states = view["recipients"].as_array().expect("a list").iter();
        states.map(|one| one["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let view =
        running.wait_for(&format!("/v1/messages/{id}"), |view| !ends(view).contains(&"queued".to_owned()));
    assert_eq!(ends(&view), ["delivered", "bounced"], "{view:#}");
    let attempt = &view["recipients"][1]["attempts"][0];
    assert_eq!(
        (&attempt["code"], &attempt["enhanced"], &attempt["phase"]),
        (&json!(550), &json!("5.1.1"), &json!("rcpt"))
    );
    assert_eq!((&view["sender"], &view["tags"][0]), (&json!("shop@s.test"), &json!("welcome")));
    let recipient = taken["recipients"][0]["id"].as_str().expect("an id");
    let one = running.get(&format!("/v1/messages/{recipient}"));
    assert_eq!((one["id"].as_str(), ends(&one)), (Some(id), vec!["delivered".to_owned()]));
    let why = running.get(&format!("/v1/why/{recipient}"));
    assert_eq!(why["state"], "delivered", "{why}");

    let page = running.get("/v1/events?limit=1");
    let next = running.get(&format!("/v1/events?after={}", page["next"].as_str().expect("a cursor")));
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1));
    let story = [&page["events"][0], &next["events"][0]].map(|event| event["recipient"].clone());
    assert!(story.contains(&json!(recipient)));
    assert_eq!(page["events"][0]["metadata"], json!({"order": 7}));
    let (_, metrics) = running.ask("GET", "/metrics", &[], "");
    let metrics = metrics.as_str().expect("text");
    for line in [
        "staffetta_recipients{state=\"bounced\"} 1",
        "staffetta_outcomes_total{outcome=\"bounced\",class=\"transactional\"",
        "staffetta_delivery_latency_seconds_count{class=\"transactional\"} ",
        "staffetta_messages_in_total ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    running.stop();
}

#[test]
fn a_campaign_is_uploaded_started_and_counted() {
    let running = Running::start("");
    let draft = json!({"name": "News", "from": "news@s.test", "subject": "Hi {{ name }}", "text": "Hello {{ name }}"});
    let (status, created) = running.post("/v1/campaigns", &draft);
    assert_eq!((status, &created["fields"][0]["name"]), (201, &json!("name")), "{created}");
    let path = format!("/v1/campaigns/{}", created["id"].as_str().expect("an id"));
    let mut list = "email,name\n".to_owned();
    for n in 0..2_500 {
        list.push_str(&format!("r{n}@x.test,\"Name, {n}\"\n"));
    }
    list.push_str("wrong,Name\nrefused@x.test\n");
    let csv = [("content-type", "text/csv")];
    let (status, done) = running.ask("POST", &format!("{path}/recipients"), &csv, list);
    assert_eq!(
        (status, &done["accepted"], &done["rejected_count"]),
        (200, &json!(2500), &json!(2)),
        "{done}"
    );
    assert_eq!(
        (&done["rejected"][0]["line"], &done["rejected"][1]["code"]),
        (&json!(2502), &json!("column_count"))
    );
    let ndjson = [("content-type", "application/x-ndjson")];
    let line = "{\"address\":\"refused@x.test\",\"merge\":{\"name\":\"R\"}}\n";
    let (status, done) = running.ask("POST", &format!("{path}/recipients"), &ndjson, line);
    assert_eq!((status, &done["accepted"]), (200, &json!(1)), "{done}");

    let view = running.wait_for(&path, |view| view["counts"]["accepted"] == 2501);
    assert_eq!(
        (&view["state"], &view["counts"]["queued"], &view["eta_seconds"]),
        (&json!("created"), &json!(2501), &Value::Null)
    );
    assert_eq!(view.get("expected_at"), Some(&Value::Null), "it is not started");
    let (status, acted) = running.ask("POST", &format!("{path}/start"), &[], "");
    assert_eq!((status, &acted["state"]), (200, &json!("running")), "{acted}");
    let view = running.wait_for(&path, |view| view["counts"]["queued"] == 0);
    assert_eq!(
        (&view["counts"]["delivered"], &view["counts"]["bounced"]),
        (&json!(2500), &json!(1)),
        "{view:#}"
    );
    assert!(view["providers"].as_object().is_some_and(|providers| providers.len() == 1), "{view:#}");
    assert_eq!(view["expected_at"], Value::Null, "it has ended");
    assert_eq!(running.get("/v1/campaigns")["campaigns"].as_array().map(Vec::len), Some(1));
    assert_eq!(running.get("/v1/ledger")["accepted"], 2501);
    let (status, error) = running.ask("GET", &path.replace("campaigns", "messages"), &[], "");
    assert_eq!((status, &error["error"]["code"]), (404, &json!("is_campaign")));
    running.stop();
}

#[test]
fn what_is_wrong_is_named_and_a_key_is_used_once() {
    let running = Running::start("");
    let template = json!({"from": "a@x.test", "subject": "s", "text": "a\n{{ b"});
    for (method, path, body, status, code, field) in [
        ("POST", "/v1/messages", "{", 400, "invalid_json", Value::Null),
        ("POST", "/v1/messages", "{\"from\":\"a\"}", 422, "invalid", json!("from")),
        ("POST", "/v1/campaigns", &template.to_string(), 422, "invalid", json!("text")),
        ("GET", "/v1/messages/x", "", 400, "invalid_id", json!("id")),
        ("GET", "/v1/messages/0000000000100", "", 404, "not_found", Value::Null),
        ("GET", "/v1/campaigns/0000000000100", "", 404, "not_found", Value::Null),
        ("GET", "/v1/events?after=x", "", 422, "invalid", json!("after")),
        ("GET", "/v1/nothing", "", 404, "not_found", Value::Null),
        ("DELETE", "/v1/ledger", "", 405, "method_not_allowed", Value::Null),
    ] {
        let (found, answer) =
            running.ask(method, path, &[("content-type", "application/json")], body.to_owned());
        let error = &answer["error"];
        assert_eq!(
            (found, &error["code"], &error["field"]),
            (status, &json!(code), &field),
            "{path}: {answer}"
        );
        assert!(error["message"].is_string(), "{path}: {answer}");
    }
    let (status, answer) = running.ask("POST", "/v1/messages", &[], "{}");
    assert_eq!((status, &answer["error"]["code"]), (415, &json!("unsupported_media_type")));
    let (status, answer) = running.post("/v1/campaigns", &json!({"text": "x".repeat(5_000_000)}));
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));

    let keyed = [("content-type", "application/json"), ("idempotency-key", "k-1")];
    let mut letter = letter();
    letter["to"] = json!("ann@x.test");
    let first = running.ask("POST", "/v1/messages", &keyed, letter.to_string());
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(running.ask("POST", "/v1/messages", &keyed, letter.to_string()), first);
    let mut other = letter;
    other["subject"] = json!("Other");
    let (status, answer) = running.ask("POST", "/v1/messages", &keyed, other.to_string());
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(running.get("/v1/ledger")["accepted"], 1);
    running.stop();
}

#[test]
fn an_account_needs_its_token_and_sees_its_own() {
    let hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of `test`
    let other = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"; // of `test2`
    let running = Running::start(&format!(
        "[[account]]\nname = \"one\"\ntoken_hash = \"{hash}\"\nsenders = [\"@s.test\"]\n\
         [[account]]\nname = \"two\"\ntoken_hash = \"{other}\"\n"
    ));
    let one = ("authorization", "Bearer test");
    let two = ("authorization", "Bearer test2");
    let json_type = ("content-type", "application/json");
    assert_eq!(running.ask("GET", "/v1/ledger", &[], "").0, 401);
    assert_eq!(running.ask("GET", "/healthz", &[], "").0, 200);
    let (status, taken) = running.ask("POST", "/v1/messages", &[one, json_type], letter().to_string());
    assert_eq!(status, 202, "{taken}");
    let path = format!("/v1/messages/{}", taken["id"].as_str().expect("an id"));
    assert_eq!(running.ask("GET", &path, &[one], "").0, 200);
    assert_eq!(running.ask("GET", &path, &[two], "").0, 404);
    let mut forged = letter();
    forged["from"] = json!("boss@other.test");
    let (status, answer) = running.ask("POST", "/v1/messages", &[one, json_type], forged.to_string());
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("sender_not_allowed")));
    assert_eq!(running.ask("GET", "/v1/queue", &[one], "").0, 403);
    let (_, page) = running.ask("GET", "/v1/events?wait=20s", &[one], "");
    assert!(page["events"].as_array().is_some_and(|events| !events.is_empty()), "{page}");
    let (_, page) = running.ask("GET", "/v1/events", &[two], "");
    assert_eq!(page["events"], json!([]));

    // The control socket needs no token and may do everything.
    let queue = running.engine.runtime().block_on(async {
        let stream = tokio::net::UnixStream::connect(&running.control).await.expect("connected");
        exchange(TokioIo::new(stream), "GET", "/v1/queue", &[], bytes::Bytes::new()).await
    });
    assert_eq!(queue.0, 200);
    running.stop();
}

#[test]
fn an_account_beyond_its_quota_is_told_so_and_sees_what_it_has_used() {
    let hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of `test`
    let other = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"; // of `test2`
    let running = Running::start(&format!(
        "[[account]]\nname = \"one\"\ntoken_hash = \"{hash}\"\nquota = \"3/d\"\npool = \"default\"\n\
         [[account]]\nname = \"two\"\ntoken_hash = \"{other}\"\n"
    ));
    let (one, two) = (("authorization", "Bearer test"), ("authorization", "Bearer test2"));
    let headers = [one, ("content-type", "application/json"), ("idempotency-key", "k")];
    assert_eq!(running.ask("POST", "/v1/messages", &headers[..2], letter().to_string()).0, 202);
    let (status, answer) = running.ask("POST", "/v1/messages", &headers, letter().to_string());
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("quota_exceeded")), "{answer}");
    let mut single = letter();
    single["to"] = json!("ann@x.test");
    let (status, answer) = running.ask("POST", "/v1/messages", &headers, single.to_string());
    assert_eq!(status, 202, "a refusal is not remembered for its key: {answer}");
    let (_, own) = running.ask("GET", "/v1/accounts", &[one], "");
    let [account] = own["accounts"].as_array().expect("a list").as_slice() else { panic!("{own}") };
    assert_eq!((&account["name"], &account["pool"]), (&json!("one"), &json!("default")));
    let quota = &account["quota"];
    assert_eq!((&quota["rate"], &quota["used"], &quota["left"]), (&json!("3/d"), &json!(3), &json!(0)));
    assert!(quota["free_at"].is_string(), "{quota}");
    let (_, others) = running.ask("GET", "/v1/accounts", &[two], "");
    assert_eq!(others["accounts"], json!([{"name": "two", "pool": null, "quota": null}]));
    running.stop();
}

#[test]
fn a_suspended_path_holds_its_mail_and_says_why() {
    let running = Running::start("");
    let first = running.post("/v1/messages", &letter()).1;
    let first = first["id"].as_str().expect("an id").to_owned();
    running.wait_for(&format!("/v1/messages/{first}"), |view| view["recipients"][0]["state"] == "delivered");
    let (status, reached) = running.post("/v1/queue/suspend", &json!({"for": "1h", "reason": "maintenance"}));
    assert_eq!(status, 200, "{reached}");
    assert!(reached["paths"].as_u64().is_some_and(|paths| paths > 0), "{reached}");
    let second = running.post("/v1/messages", &letter()).1;
    let recipient = second["recipients"][0]["id"].as_str().expect("an id").to_owned();
    let why = running.wait_for(&format!("/v1/why/{recipient}"), |why| !why["path"].is_null());
    assert_eq!((&why["state"], &why["path"]["reason"]), (&json!("queued"), &json!("maintenance")), "{why:#}");
    let queue = running.get("/v1/queue");
    assert_eq!(queue["paths"][0]["reason"], "maintenance", "{queue:#}");
    assert_eq!(running.ask("POST", "/v1/queue/resume", &[], "").0, 200);
    running.wait_for(&format!("/v1/why/{recipient}"), |why| why["state"] == "delivered");
    running.stop();
}

#[test]
fn a_deadline_that_cannot_be_kept_is_refused_or_warned_of() {
    let running = Running::start("[provider.slow]\ndomains = [\"slow.test\"]\nrate = \"10/min\"\n");
    let letter = |deadline: &str, on_late: &str, count: usize| {
        let to: Vec<String> = (0..count).map(|n| format!("r{n}@slow.test")).collect();
        json!({"from": "shop@s.test", "to": to, "subject": "Hi", "text": "Hello", "deadline": deadline, "on_late": on_late})
    };
    let (status, taken) = running.post("/v1/messages", &letter("1h", "refuse", 50));
    assert_eq!(status, 202, "{taken}");
    assert!(taken["recipients"][0]["expected_at"].is_string() && taken["warnings"].is_null(), "{taken}");
    std::thread::sleep(Duration::from_secs(1));
    let (status, refused) = running.post("/v1/messages", &letter("30s", "refuse", 1));
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("deadline_unreachable")), "{refused}");
    assert_eq!(refused["error"]["field"], "deadline");
    let (status, warned) = running.post("/v1/messages", &letter("30s", "warn", 1));
    assert_eq!((status, &warned["warnings"][0]["code"]), (202, &json!("deadline_unreachable")), "{warned}");
    let (status, wrong) = running.post("/v1/messages", &letter("30s", "never", 1));
    assert_eq!((status, &wrong["error"]["field"]), (422, &json!("on_late")), "{wrong}");
    let id = warned["recipients"][0]["id"].as_str().expect("an id");
    let why = running.wait_for(&format!("/v1/why/{id}"), |why| why["code"] == "budget.rate");
    assert!(why["expected"].is_string() && why["position"].as_u64() > Some(30), "{why:#}");
    assert_eq!(why["decisions"][1]["is"], "slow");
    running.stop();
}

#[test]
fn feedback_is_in_the_story_and_counts_once() {
    let running = Running::start("");
    let (_, taken) = running.post("/v1/messages", &letter());
    let recipient = taken["recipients"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/messages/{recipient}");
    running.wait_for(&path, |view| view["recipients"][0]["state"] == "delivered");
    let tell = |kind: &str| running.post("/v1/feedback", &json!({"recipient": recipient, "kind": kind}));
    let (status, told) = tell("open");
    assert_eq!((status, &told["counted"]), (202, &json!(true)), "{told}");
    assert_eq!(tell("open").1["counted"], false);
    assert_eq!(tell("complaint").1["counted"], true);
    let (status, wrong) = tell("applause");
    assert_eq!((status, &wrong["error"]["field"]), (422, &json!("kind")), "{wrong}");
    let view = running.get(&path);
    let feedback = view["recipients"][0]["feedback"].as_array().expect("a list");
    let kinds: Vec<_> = feedback.iter().map(|one| one["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["open", "complaint"], "{view:#}");
    let (status, nobody) =
        running.post("/v1/feedback", &json!({"recipient": "0000000000zzz", "kind": "open"}));
    assert_eq!(status, 404, "{nobody}");
    running.stop();
}

#[test]
fn decisions_and_sources_are_told() {
    let running = Running::start("");
    assert_eq!(running.get("/v1/decisions"), json!({"decisions": [], "next": 0}));
    let page = running.get("/v1/decisions?after=now&wait=1s");
    assert!(page["next"].as_u64() > Some(0) && page["decisions"] == json!([]), "{page}");
    let (status, wrong) = running.ask("GET", "/v1/decisions?after=yesterday", &[], "");
    assert_eq!((status, &wrong["error"]["field"]), (422, &json!("after")));
    let (_, taken) = running.post("/v1/messages", &letter());
    let recipient = taken["recipients"][0]["id"].as_str().expect("an id");
    running
        .wait_for(&format!("/v1/messages/{recipient}"), |view| view["recipients"][0]["state"] == "delivered");
    let sources = running.get("/v1/sources");
    assert_eq!(sources["sources"][0]["name"], "default", "{sources:#}");
    assert_eq!(sources["sources"][0]["providers"][0]["provider"], "routed", "{sources:#}");
    assert_eq!(sources["warm_ups"], json!([]));
    let order = json!({"source": "default", "provider": "google", "ladder": "careful", "day": 2});
    let (status, begun) = running.post("/v1/sources/warmup", &order);
    let expected = json!({"source": "default", "ladder": "careful", "day": 2, "per_day": 75, "providers": 1});
    assert_eq!((status, &begun), (200, &expected));
    let warm_up = &running.get("/v1/sources")["warm_ups"][0];
    assert_eq!((&warm_up["provider"], &warm_up["day"]), (&json!("google"), &json!(2)), "{warm_up}");
    assert_eq!(running.get("/v1/decisions")["decisions"][0]["kind"], "warmup.started");
    for (order, status, field) in [
        (json!({"source": "other"}), 404, json!(null)),
        (json!({"source": "default", "ladder": "steep"}), 422, json!("ladder")),
        (json!({"provider": "google"}), 422, json!(null)),
    ] {
        let (found, wrong) = running.post("/v1/sources/warmup", &order);
        assert_eq!((found, &wrong["error"]["field"]), (status, &field), "{wrong}");
    }
    running.stop();
}
