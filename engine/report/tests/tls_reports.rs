//! TLS reports from a running engine: to a receiver of mail, a DNS server and an HTTPS server on loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mail::UnixMs;
use mail_auth::report::tlsrpt::TlsReport;
use mta::{Engine, TlsReports};
use policy::tls_report::{AppliedPolicy, Day, Failure, ResultType, Session};
use rcgen::{CertificateParams, KeyPair};
use report::TlsReportSender;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Messages or bodies that have arrived.
type Arrived = Arc<Mutex<Vec<Vec<u8>>>>;

/// A receiver that takes everything, one reply per command.
fn receiver(arrived: Arrived) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = Arc::clone(&arrived);
            std::thread::spawn(move || converse(&stream, &arrived));
        }
    });
    address
}

fn converse(stream: &TcpStream, arrived: &Arrived) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let mut say = stream;
    say.write_all(b"220 receiver.test\r\n").ok()?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut reply = "250 2.0.0 ok";
        if line.to_ascii_uppercase().starts_with("DATA") {
            say.write_all(b"354 go on\r\n").ok()?;
            let mut message = Vec::new();
            while !message.ends_with(b"\r\n.\r\n") {
                lines.read_until(b'\n', &mut message).ok()?;
            }
            arrived.lock().expect("whole").push(message);
        } else if line.to_ascii_uppercase().starts_with("QUIT") {
            reply = "221 2.0.0 bye";
        }
        say.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
}

/// Every host is on loopback; TXT records as in `texts`, others do not exist.
fn dns(texts: HashMap<String, String>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((bytes, peer)) = socket.recv_from(&mut packet) {
            let answer = answer(&packet[..bytes], &texts);
            socket.send_to(&answer, peer).expect("loopback");
        }
    });
    address
}

/// The answer to a question, in the format of RFC 1035 section 4.
fn answer(question: &[u8], texts: &HashMap<String, String>) -> Vec<u8> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let kind = question[at + 2];
    let data = match kind {
        1 => Some(vec![127, 0, 0, 1]),
        16 => texts.get(&labels.join(".")).map(|text| {
            let length = u8::try_from(text.len()).expect("short");
            [&[length], text.as_bytes()].concat()
        }),
        _ => None,
    };
    let code = if data.is_none() && kind == 16 { 3 } else { 0 };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend(&question[12..at + 5]);
    if let Some(data) = data {
        let length = u16::try_from(data.len()).expect("short").to_be_bytes();
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 1, 0]);
        answer.extend(length);
        answer.extend(data);
    }
    answer
}

/// An HTTPS server for `name` that answers 201 and keeps requests; its certificate vouches for itself.
fn https(name: &str, ca_file: &Path, arrived: Arrived) -> u16 {
    let key = KeyPair::generate().expect("a key");
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).expect("a name").self_signed(&key).expect("signed");
    std::fs::write(ca_file, certificate.pem()).expect("written");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("set");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !is_complete(&request) {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                arrived.lock().expect("whole").push(request);
                let reply = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(reply).await.expect("written");
                // The client may have closed first.
                let _ = stream.shutdown().await;
            }
        });
    });
    port
}

fn head_and_body(request: &[u8]) -> Option<(String, &[u8])> {
    let end = request.windows(4).position(|end| end == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&request[..end]).to_ascii_lowercase(), &request[end + 4..]))
}

fn is_complete(request: &[u8]) -> bool {
    let Some((head, body)) = head_and_body(request) else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Waits until there are `count`.
fn await_arrived(arrived: &Arrived, count: usize) -> Vec<Vec<u8>> {
    let began = Instant::now();
    while arrived.lock().expect("whole").len() < count {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "only {} arrived",
            arrived.lock().expect("whole").len()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    arrived.lock().expect("whole").clone()
}

fn start(dir: &Path, dns: SocketAddr, receiver: SocketAddr) -> Engine {
    let dkim = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/testdata/test-rsa.pem");
    let text = format!(
        "[node]\nname = \"engine.test\"\ndata_dir = \"{data}\"\nshards = 1\n\
         [spool]\nmin_free = \"1MiB\"\nsegment = \"16MiB\"\n\
         [http]\naddress = \"127.0.0.1:0\"\n\
         [dns]\nservers = [\"{dns}\"]\n\
         [[domain]]\nname = \"sender.test\"\n[[domain.dkim]]\nselector = \"s\"\nkey_file = \"{dkim}\"\n\
         [[route]]\ndomain = \"*\"\nhosts = [\"{receiver}\"]\n\
         [deliver]\nca_file = \"{data}/ca.pem\"\nallow_private = [\"127.0.0.0/8\"]\n\
         [tls_report]\nfrom = \"tls@sender.test\"\norganization = \"Sender\"\n",
        data = dir.display(),
        dkim = dkim.display(),
    );
    let checked = policy::config::check("test.toml", &text);
    let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
    let config = checked.config.unwrap_or_else(|| panic!("{}", problems.join("\n")));
    Engine::start(Arc::new(config)).expect("started")
}

/// One good session and one that failed, for each domain.
fn count(reports: &TlsReports, at: UnixMs, domains: &[&str]) {
    for domain in domains {
        let policy = Arc::new(AppliedPolicy::none(domain));
        let failure = Failure {
            receiving_mx_hostname: format!("mx.{domain}"),
            ..Failure::new(ResultType::StarttlsNotSupported)
        };
        for failure in [None, Some(failure)] {
            reports.record(Session { at, policy: Arc::clone(&policy), failure });
        }
    }
}

#[test]
fn a_domain_is_told_of_its_day_once_by_mail_and_https() {
    let dir = tempfile::tempdir().expect("a directory");
    let (letters, posts) = (Arrived::default(), Arrived::default());
    let port = https("reports.both.test", &dir.path().join("ca.pem"), Arc::clone(&posts));
    let record = |rua: &str| format!("v=TLSRPTv1; rua={rua};");
    let texts = HashMap::from([
        (
            "_smtp._tls.both.test".to_owned(),
            record(&format!("mailto:tls@both.test,https://reports.both.test:{port}/in?x=1")),
        ),
        ("_smtp._tls.broken.test".to_owned(), record(&format!("https://wrong.name.test:{port}/"))),
        ("_smtp._tls.today.test".to_owned(), record("mailto:tls@today.test")),
        ("_smtp._tls.other.test".to_owned(), "v=spf1 -all".to_owned()),
    ]);
    let engine = start(dir.path(), dns(texts), receiver(Arc::clone(&letters)));
    let (handle, reports) = (engine.handle(), engine.handle().tls_reports());
    let now = handle.now();
    let (today, past) = (Day::of(now), Day(Day::of(now).0 - 2));
    count(&reports, past.begin(), &["both.test", "broken.test", "other.test", "silent.test"]);
    count(&reports, now, &["today.test"]);

    let mut sender = TlsReportSender::new(&handle).expect("it has an address to send from");
    assert_eq!(engine.runtime().block_on(sender.send_due(now)), 1);
    assert_eq!(reports.domains(past), ["broken.test"], "the others were told, or do not want to be");
    assert_eq!(reports.domains(today), ["today.test"], "its day is not over");

    let letter = await_arrived(&letters, 1).remove(0);
    let by_mail = TlsReport::parse_rfc5322(&letter, 1 << 20).expect("a report");
    assert_eq!(by_mail.report_id, format!("{past}_both.test@sender.test"));
    assert_eq!(by_mail.organization_name.as_deref(), Some("Sender"));
    assert_eq!(
        (by_mail.policies[0].summary.total_success, by_mail.policies[0].summary.total_failure),
        (1, 1)
    );
    let letter = String::from_utf8(letter).expect("ASCII");
    assert!(letter.contains("DKIM-Signature: ") && letter.contains("d=sender.test"), "{letter}");

    let post = await_arrived(&posts, 1).remove(0);
    let (head, body) = head_and_body(&post).expect("a request");
    assert!(head.starts_with("post /in?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/tlsrpt+gzip"), "{head}");
    let mut json = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut json).expect("gzip");
    assert_eq!(TlsReport::parse_json(json.as_bytes()).expect("a report"), by_mail);

    assert_eq!(engine.runtime().block_on(sender.send_due(now + Duration::from_secs(3599))), 0);
    assert_eq!(engine.runtime().block_on(sender.send_due(now + Duration::from_secs(3600))), 0);
    assert_eq!(reports.domains(past), ["broken.test"]);
    assert_eq!((letters.lock().expect("whole").len(), posts.lock().expect("whole").len()), (1, 1));
    engine.stop();
}
