//! A small internet on loopback: a DNS server, and an HTTPS server with a certificate of the test's own authority.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::Acceptor;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

/// What the HTTPS server does with a request.
#[derive(Clone)]
pub(crate) enum Page {
    /// Answers with these bytes, head and body.
    Says(Vec<u8>),
    /// Reads, and says nothing.
    Silent,
}

impl Page {
    pub(crate) fn new(status: &str, fields: &str, body: &str) -> Self {
        let length = body.len();
        Self::Says(
            format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}").into_bytes(),
        )
    }

    pub(crate) fn policy(text: &str) -> Self {
        Self::new("200 OK", "content-type: text/plain; charset=utf-8\r\n", text)
    }
}

/// What the servers know; changed while they run.
#[derive(Default)]
pub(crate) struct Stage {
    /// TXT records by name, without the final dot. A name that is not there does not exist.
    pub(crate) texts: Mutex<HashMap<String, Vec<String>>>,
    pub(crate) page: Mutex<Option<Page>>,
    /// The DNS server answers SERVFAIL.
    pub(crate) dns_fails: std::sync::atomic::AtomicBool,
    pub(crate) looked_up: AtomicUsize,
    /// Only this host is answered; when it is empty, all are.
    pub(crate) only: Mutex<String>,
    /// Handshakes that were begun and are not answered.
    pub(crate) stalled: AtomicUsize,
    /// Requests as they came, head and body.
    pub(crate) requests: Mutex<Vec<Vec<u8>>>,
}

impl Stage {
    pub(crate) fn announce(&self, domain: &str, record: &str) {
        self.texts.lock().expect("whole").insert(format!("_mta-sts.{domain}"), vec![record.to_owned()]);
    }

    pub(crate) fn show(&self, page: Page) {
        *self.page.lock().expect("whole") = Some(page);
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.lock().expect("whole").len()
    }
}

/// The addresses of both servers, and who vouches for the HTTPS server.
pub(crate) struct World {
    pub(crate) stage: Arc<Stage>,
    pub(crate) dns: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) roots: Arc<RootCertStore>,
}

impl World {
    /// Starts both on the current runtime; the certificate is for `names`.
    pub(crate) async fn start(names: &[&str]) -> Self {
        let stage = Arc::new(Stage::default());
        let dns = dns(Arc::clone(&stage));
        let (config, roots) = certificate(names);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let https = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, config, Arc::clone(&stage)));
        Self { stage, dns, https, roots }
    }
}

fn certificate(names: &[&str]) -> (Arc<ServerConfig>, Arc<RootCertStore>) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).expect("names").signed_by(&key, &authority).expect("signed");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate");
    (Arc::new(config), Arc::new(roots))
}

async fn serve(listener: TcpListener, config: Arc<ServerConfig>, stage: Arc<Stage>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (config, stage) = (Arc::clone(&config), Arc::clone(&stage));
        tokio::spawn(async move {
            let Ok(begun) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
            let only = stage.only.lock().expect("whole").clone();
            if !only.is_empty() && begun.client_hello().server_name() != Some(&*only) {
                stage.stalled.fetch_add(1, Ordering::SeqCst);
                return tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let Ok(mut stream) = begun.into_stream(config).await else { return };
            let request = read_request(&mut stream).await;
            stage.requests.lock().expect("whole").push(request);
            let page = stage.page.lock().expect("whole").clone();
            match page {
                Some(Page::Says(bytes)) => {
                    // A client that has read enough may have gone.
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                }
                Some(Page::Silent) => tokio::time::sleep(Duration::from_secs(60)).await,
                None => {}
            }
        });
    }
}

async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let head = request.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= head + length.unwrap_or(0) {
                return request;
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return request;
        }
    }
}

fn dns(stage: Arc<Stage>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((bytes, peer)) = socket.recv_from(&mut packet) {
            let question = Message::from_vec(&packet[..bytes]).expect("hickory asks in order");
            stage.looked_up.fetch_add(1, Ordering::SeqCst);
            let answer = answer(&stage, &question).to_vec().expect("it fits");
            // The asker may have gone.
            let _ = socket.send_to(&answer, peer);
        }
    });
    address
}

/// Hosts are on loopback; texts as the stage has them.
fn answer(stage: &Stage, question: &Message) -> Message {
    let query = question.queries[0].clone();
    let name = query.name().to_ascii().to_ascii_lowercase();
    let mut answer = Message::response(question.id, question.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    if stage.dns_fails.load(Ordering::SeqCst) {
        answer.metadata.response_code = ResponseCode::ServFail;
    } else if query.query_type() == RecordType::A {
        let data = RData::A(A(Ipv4Addr::LOCALHOST));
        answer.add_answer(Record::from_rdata(query.name().clone(), 300, data));
    } else if query.query_type() == RecordType::TXT {
        let texts = stage.texts.lock().expect("whole").get(name.trim_end_matches('.')).cloned();
        for text in texts.into_iter().flatten() {
            // In two strings, as long records are.
            let (first, second) = text.split_at(text.len() / 2);
            let data = RData::TXT(TXT::new(vec![first.to_owned(), second.to_owned()]));
            answer.add_answer(Record::from_rdata(query.name().clone(), 300, data));
        }
    }
    if answer.answers.is_empty() {
        let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 900);
        answer.add_authority(Record::from_rdata(Name::root(), 900, RData::SOA(soa)));
    }
    answer.add_query(query);
    answer
}
