//! The parts together, on loopback: streams, TLS, deadlines, connecting, listening.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ServerConfig};

use super::tls::{ClientTls, Trust};
use super::*;

fn on_ring<F: Future>(work: F) -> F::Output {
    block_on(work).expect("a ring")
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(10);

fn listener() -> Listener {
    Listener::bind(ANY_PORT, 1024).expect("a free port")
}

/// Both ends of a connection.
async fn pair() -> (Stream, Stream) {
    let listener = listener();
    let target = Target::new(listener.local_addr());
    let client = connect(&target, PATIENCE).await.expect("it connects");
    let (server, peer) = listener.accept().await.expect("it is accepted");
    assert_eq!(peer, client.local_addr().expect("connected"));
    assert_eq!(server.local_addr().expect("connected"), client.peer_addr().expect("connected"));
    (client, server)
}

fn certificate() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("it is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
    tls::server_config(&certificate, &key).expect("a configuration")
}

fn client_tls(trust: &Trust) -> Arc<ClientConfig> {
    ClientTls::new(&tls::roots(None).expect("no file to read"), &[]).config(trust, None)
}

async fn read_exactly(stream: &mut Stream, bytes: usize) -> Vec<u8> {
    let mut into = Vec::new();
    while into.len() < bytes {
        assert!(stream.read(&mut into).await.expect("it comes") > 0, "{} of {bytes}", into.len());
    }
    into
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = 7_u64;
    let step = |random: &mut u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.to_le_bytes()[5]
    };
    (0..bytes).map(|_| step(&mut random)).collect()
}

/// Sends `bytes` there and back while both sides work at once.
async fn echo(client: &mut Stream, mut server: Stream, bytes: Vec<u8>) {
    let length = bytes.len();
    let echoing = spawn(async move {
        let mut buffer = Vec::new();
        let mut total = 0;
        while total < length {
            total += server.read(&mut buffer).await.expect("it comes");
            server.write_all(&mut buffer).await.expect("it goes");
        }
        server
    });
    let mut copy = bytes.clone();
    client.write_all(&mut copy).await.expect("it goes");
    assert!(copy.is_empty() && copy.capacity() >= length, "the buffer comes back empty");
    assert!(read_exactly(client, length).await == bytes);
    drop(echoing.await.expect("the echo ends"));
}

#[test]
fn bytes_of_any_number_come_back_in_the_clear() {
    on_ring(async {
        for length in [1, 4096, 4097, 70_000, 200_000] {
            let (mut client, server) = pair().await;
            echo(&mut client, server, noise(length)).await;
            assert_eq!(client.tls_description(), None);
            assert_eq!(client.read(&mut Vec::new()).await.expect("the end"), 0);
        }
    });
}

/// Sends what `make` makes, in the clear and encrypted, to a reader that begins late; it must arrive as `expected`.
fn arrives(make: impl Fn() -> Parcel, expected: &[u8]) {
    let (config, tls) = (certificate(), client_tls(&Trust::Any));
    for encrypted in [false, true] {
        let (config, tls, mut parcel) = (config.clone(), tls.clone(), make());
        assert_eq!(parcel.len(), expected.len());
        let expected = expected.to_vec();
        on_ring(async move {
            let (mut client, mut server) = pair().await;
            let receiving = spawn(async move {
                if encrypted {
                    server.start_tls_server(config).await.expect("the handshake works");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                read_exactly(&mut server, expected.len()).await == expected
            });
            if encrypted {
                client.start_tls_client(tls, "mx.example.test").await.expect("it works");
            }
            client.write_parcel(&mut parcel).await.expect("it goes");
            assert!(parcel.is_empty() && parcel.bytes().capacity() > 0);
            assert!(receiving.await.expect("it ends"));
        });
    }
}

#[test]
fn a_large_message_passes_in_the_clear_and_encrypted() {
    let sent = noise(3_000_000);
    arrives(|| sent.clone().into(), &sent);
}

/// Far more than the sockets hold.
#[test]
fn bodies_leave_in_their_places_in_the_clear_and_encrypted() {
    let bytes = noise(10_000);
    let bodies = [(1_000, 700_000), (1_000, 5), (2_000, 0), (9_999, 3_000_000), (10_000, 90_000)];
    let (mut expected, mut taken) = (Vec::new(), 0);
    for (at, length) in bodies {
        expected.extend_from_slice(&bytes[std::mem::replace(&mut taken, at)..at]);
        expected.extend_from_slice(&noise(length + 3)[3..]);
    }
    let make = || {
        let mut parcel = Parcel::from(bytes.clone());
        bodies.iter().for_each(|&(at, length)| parcel.insert(at, Body::Made(noise(length + 3), 3)));
        parcel
    };
    arrives(make, &expected);
}

#[test]
fn tls_works_and_the_second_session_is_resumed() {
    let (config, tls) = (certificate(), client_tls(&Trust::Any));
    on_ring(async move {
        for (round, length) in [10, 100_000, 10].into_iter().enumerate() {
            let (mut client, mut server) = pair().await;
            let config = config.clone();
            let accepting = spawn(async move {
                server.start_tls_server(config).await.expect("the handshake works");
                server
            });
            client.start_tls_client(tls.clone(), "mx.example.test.").await.expect("it works");
            let server = accepting.await.expect("it ends");
            assert!(client.tls_description().expect("encrypted").starts_with("TLSv1.3 TLS_AES_"));
            assert_eq!(client.tls_description(), server.tls_description());
            assert_eq!(client.tls_standing(), Some(tls::Standing::Unverified(tls::Doubt::Issuer)));
            echo(&mut client, server, noise(length)).await;
            assert_eq!(client.tls_resumed(), Some(round > 0));
        }
    });
}

/// A server for `mx.example.test` with a certificate of an authority, and a client that trusts that authority.
fn vouched(key_is_its_own: bool) -> (Arc<ServerConfig>, ClientTls) {
    let signed = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    let key = if key_is_its_own { signed.signing_key.serialize_der() } else { other.serialize_der() };
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default")
        .with_no_client_auth();
    let key =
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.try_into().expect("a key")).expect("a key");
    let shown = rustls::sign::CertifiedKey::new(vec![signed.cert.der().clone()], key);
    let mut config = config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("random bytes");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).expect("it may be an anchor");
    (Arc::new(config), ClientTls::new(&Arc::new(roots), &[]))
}

/// The standing of the server, and whether its session was taken up again, at one connection after the other.
fn standings(server: &Arc<ServerConfig>, tls: &ClientTls) -> Vec<(Option<tls::Standing>, Option<bool>)> {
    let (server, config) = (Arc::clone(server), tls.config(&Trust::Any, None));
    on_ring(async move {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (mut client, mut peer) = pair().await;
            let server = Arc::clone(&server);
            let accepting = spawn(async move {
                peer.start_tls_server(server).await.expect("the handshake works");
                peer.write_all(&mut b"250 ok".to_vec()).await.expect("it is sent");
                peer
            });
            client.start_tls_client(config.clone(), "mx.example.test").await.expect("any is accepted");
            // The tickets come with it.
            read_exactly(&mut client, 6).await;
            seen.push((client.tls_standing(), client.tls_resumed()));
            drop(accepting.await);
        }
        seen
    })
}

#[test]
fn where_any_certificate_is_accepted_a_good_one_is_noted_also_when_resumed() {
    let (server, tls) = vouched(true);
    let verified = Some(tls::Standing::Verified);
    let expected = [(verified, Some(false)), (verified, Some(true)), (verified, Some(true))];
    assert_eq!(standings(&server, &tls), expected);
}

#[test]
fn a_borrowed_certificate_proves_nothing_also_when_resumed() {
    let (server, tls) = vouched(false);
    let unverified = Some(tls::Standing::Unverified(tls::Doubt::Other));
    let expected = [(unverified, Some(false)), (unverified, Some(true)), (unverified, Some(true))];
    assert_eq!(standings(&server, &tls), expected);
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_the_one_of_the_route() {
    let (ours, theirs) = (
        rcgen::generate_simple_self_signed(["out.example.test".to_owned()]).expect("a certificate"),
        rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate"),
    );
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&certificate, ours.cert.pem()).expect("it is written");
    std::fs::write(&key, ours.signing_key.serialize_pem()).expect("it is written");
    let identity = tls::identity(&certificate, &key).expect("they go together");
    let mut clients = rustls::RootCertStore::empty();
    clients.add(ours.cert.der().clone()).expect("it may be an anchor");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let asks =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider))
            .build()
            .expect("a verifier");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the default")
        .with_client_cert_verifier(asks)
        .with_single_cert(
            vec![theirs.cert.der().clone()],
            theirs.signing_key.serialize_der().try_into().expect("a key"),
        )
        .expect("a configuration");
    let (server, tls) =
        (Arc::new(server), ClientTls::new(&tls::roots(None).expect("compiled in"), &[identity]));
    for (shown, welcome) in [(Some(0), true), (None, false)] {
        let (server, config) = (Arc::clone(&server), tls.config(&Trust::Any, shown));
        let accepted = on_ring(async move {
            let (mut client, mut peer) = pair().await;
            let accepting = spawn(async move { peer.start_tls_server(server).await });
            // TLS 1.3: the client is done before the server has looked at its certificate.
            client.start_tls_client(config, "mx.example.test").await.expect("its own side works");
            accepting.await.expect("the task lives")
        });
        assert_eq!(accepted.is_ok(), welcome, "{accepted:?}");
    }
}

#[test]
fn a_certificate_of_nobody_is_refused_where_it_must_be_verified() {
    let config = certificate();
    on_ring(async move {
        let (mut client, mut server) = pair().await;
        let accepting = spawn(async move { server.start_tls_server(config).await });
        let fault = client
            .start_tls_client(client_tls(&Trust::Authorities), "mx.example.test")
            .await
            .expect_err("self-signed");
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData);
        let fault = accepting.await.expect("it ends").expect_err("the client went");
        assert!(fault.to_string().contains("alert"), "the client said why: {fault}");
    });
}

#[test]
fn a_handshake_with_garbage_or_silence_ends() {
    let tls = client_tls(&Trust::Any);
    on_ring(async move {
        let (mut client, mut server) = pair().await;
        server.write_all(&mut b"500 no such command\r\n".to_vec()).await.expect("it goes");
        let fault = client.start_tls_client(tls.clone(), "mx_1.example.test").await;
        assert_eq!(fault.expect_err("not TLS").kind(), io::ErrorKind::InvalidData);

        let (mut client, server) = pair().await;
        drop(server);
        let fault = client.start_tls_client(tls.clone(), "not a host name").await;
        let kind = fault.expect_err("closed").kind();
        assert!([io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&kind), "{kind}");

        let (mut client, _silent) = pair().await;
        let deadlines = Deadlines::new();
        let _watch = deadlines.watch(&client, Instant::now() + Duration::from_millis(30));
        let fault = client.start_tls_client(tls, "mx.example.test").await;
        assert_eq!(fault.expect_err("silence").kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn close_notify_ends_the_stream_and_the_other_side_still_works() {
    let (config, tls) = (certificate(), client_tls(&Trust::Any));
    on_ring(async move {
        let (mut client, mut server) = pair().await;
        let serving = spawn(async move {
            server.start_tls_server(config).await.expect("the handshake works");
            assert_eq!(server.read(&mut Vec::new()).await.expect("the end"), 0);
            server.write_all(&mut b"221 bye".to_vec()).await.expect("it goes");
        });
        client.start_tls_client(tls, "mx.example.test").await.expect("it works");
        client.shutdown().await.expect("it goes");
        assert_eq!(read_exactly(&mut client, 7).await, b"221 bye");
        serving.await.expect("it ends");
    });
}

#[test]
fn an_abandoned_read_loses_no_byte() {
    on_ring(async {
        let (mut client, mut server) = pair().await;
        let mut into = Vec::new();
        for _ in 0..3 {
            let wait = tokio::time::timeout(Duration::from_millis(5), client.read(&mut into)).await;
            assert!(wait.is_err(), "nothing came yet");
        }
        for text in ["220 one\r\n", "221 two\r\n"] {
            server.write_all(&mut text.as_bytes().to_vec()).await.expect("it goes");
        }
        into.extend_from_slice(&read_exactly(&mut client, 18).await);
        assert_eq!(into, b"220 one\r\n221 two\r\n");
    });
}

#[test]
fn an_abandoned_write_leaves_once_and_in_order() {
    let (config, tls) = (certificate(), client_tls(&Trust::Any));
    for encrypted in [false, true] {
        let (config, tls) = (config.clone(), tls.clone());
        on_ring(async move {
            let (mut client, mut server) = pair().await;
            let (accepted, ready) = tokio::sync::oneshot::channel();
            let (go, started) = tokio::sync::oneshot::channel::<()>();
            let sent = noise(8_000_000);
            let expected = sent.clone();
            let receiving = spawn(async move {
                if encrypted {
                    server.start_tls_server(config).await.expect("the handshake works");
                }
                accepted.send(()).expect("somebody waits");
                started.await.expect("it is told");
                read_exactly(&mut server, expected.len() + 3).await == [&expected[..], b"end"].concat()
            });
            if encrypted {
                client.start_tls_client(tls, "mx.example.test").await.expect("it works");
            }
            ready.await.expect("it is told");
            let mut from = sent;
            let wait = tokio::time::timeout(Duration::from_millis(50), client.write_all(&mut from)).await;
            assert!(wait.is_err(), "the peer takes nothing yet");
            assert!(from.is_empty());
            go.send(()).expect("somebody waits");
            client.write_all(&mut b"end".to_vec()).await.expect("it goes");
            assert!(receiving.await.expect("it ends"));
        });
    }
}

#[test]
fn a_deadline_ends_a_read_and_the_server_can_still_take_its_leave() {
    on_ring(async {
        let deadlines = Deadlines::new();
        let (mut client, mut server) = pair().await;
        let watch = deadlines.watch(&server, Instant::now() + Duration::from_secs(300));
        // The deadline moves while the read is pending.
        let start = Instant::now();
        let mut into = Vec::new();
        let (read, ()) = tokio::join!(server.read(&mut into), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            watch.extend(Duration::from_millis(20));
        });
        let passed = start.elapsed();
        assert_eq!(read.expect_err("nothing comes").kind(), io::ErrorKind::TimedOut);
        assert!(passed >= Duration::from_millis(30) && passed < Duration::from_secs(2), "{passed:?}");
        server.write_all(&mut b"421 4.4.2 timeout\r\n".to_vec()).await.expect("writing still works");
        drop(server);
        assert_eq!(read_exactly(&mut client, 19).await, b"421 4.4.2 timeout\r\n");
    });
}

#[test]
fn a_deadline_ends_a_write_that_the_peer_does_not_take() {
    on_ring(async {
        let deadlines = Deadlines::new();
        let (mut client, _server) = pair().await;
        let watch = deadlines.watch(&client, Instant::now() + Duration::from_millis(40));
        let fault = client.write_all(&mut vec![0; 20_000_000]).await.expect_err("nobody reads");
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        assert_eq!(deadlines.len(), 1);
        drop(watch);
        assert!(deadlines.is_empty());
    });
}

#[test]
fn a_cleared_or_dropped_watch_does_nothing() {
    on_ring(async {
        let deadlines = Deadlines::new();
        let (mut client, mut server) = pair().await;
        let soon = Instant::now() + Duration::from_millis(10);
        drop(deadlines.watch(&client, soon));
        let watch = deadlines.watch(&client, soon);
        watch.clear();
        tokio::time::sleep(Duration::from_millis(600)).await;
        server.write_all(&mut b"ok".to_vec()).await.expect("it goes");
        assert_eq!(read_exactly(&mut client, 2).await, b"ok");
    });
}

#[test]
fn many_deadlines_pass_in_one_sweep() {
    on_ring(async {
        let deadlines = Deadlines::new();
        let mut waiting = Vec::new();
        let mut kept = Vec::new();
        let at = Instant::now() + Duration::from_millis(500);
        for _ in 0..200 {
            let (mut client, server) = pair().await;
            kept.push(server);
            let watch = deadlines.watch(&client, at);
            waiting.push(spawn(async move {
                let result = client.read(&mut Vec::new()).await.map_err(|fault| fault.kind());
                drop(watch);
                result
            }));
        }
        for task in waiting {
            assert_eq!(task.await.expect("it ends"), Err(io::ErrorKind::TimedOut));
        }
        assert!(deadlines.is_empty());
        assert!(at.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn connections_leave_from_the_address_that_was_asked_for() {
    on_ring(async {
        let listener = listener();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
        let target = Target { bind_ip: Some(ip), ..Target::new(listener.local_addr()) };
        let first = connect(&target, PATIENCE).await.expect("it connects");
        let (_, peer) = listener.accept().await.expect("it is accepted");
        assert_eq!((peer.ip(), first.local_addr().expect("connected")), (ip, peer));

        let device = Target { device: Some("lo".to_owned()), ..target.clone() };
        connect(&device, PATIENCE).await.expect("loopback is a device");
        let free = Target { freebind: true, ..target };
        connect(&free, PATIENCE).await.expect("a local address may be bound freely");
    });
}

#[test]
fn faults_of_the_source_are_told_from_faults_of_the_destination() {
    on_ring(async {
        let listener = listener();
        let to = Target::new(listener.local_addr());
        let foreign = Target { bind_ip: Some("203.0.113.9".parse().expect("an address")), ..to.clone() };
        let fault = connect(&foreign, PATIENCE).await.expect_err("not on this host");
        assert!(SourceFault::is_cause_of(&fault), "{fault}");
        assert!(fault.to_string().contains("203.0.113.9"));
        let other = Target { bind_ip: Some("::1".parse().expect("an address")), ..to.clone() };
        assert!(SourceFault::is_cause_of(&connect(&other, PATIENCE).await.expect_err("IPv6 to IPv4")));
        let device = Target { device: Some("nosuch0".to_owned()), ..to.clone() };
        assert!(SourceFault::is_cause_of(&connect(&device, PATIENCE).await.expect_err("no device")));

        drop(listener);
        let fault = connect(&to, PATIENCE).await.expect_err("nobody listens");
        assert_eq!(fault.kind(), io::ErrorKind::ConnectionRefused);
        assert!(!SourceFault::is_cause_of(&fault));
    });
}

#[test]
fn a_connect_that_nobody_answers_ends_in_time() {
    on_ring(async {
        // A full backlog: the kernel drops further handshakes.
        let full = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
        socket2::SockRef::from(&full).listen(0).expect("it listens");
        let target = Target::new(full.local_addr().expect("bound"));
        let mut held = Vec::new();
        let fault = loop {
            match connect(&target, Duration::from_millis(100)).await {
                Ok(stream) => held.push(stream),
                Err(fault) => break fault,
            }
            assert!(held.len() < 20, "the backlog is never full");
        };
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a proc file system").count()
}

/// Other tests of this process open descriptors too, hence a process of its own.
#[test]
fn a_thousand_connections_leak_no_descriptor() {
    const ALONE: &str = "STAFFETTA_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let status = std::process::Command::new(std::env::current_exe().expect("a test runs from a file"))
            .args(["--exact", "--nocapture", std::thread::current().name().expect("tests have names")])
            .env(ALONE, "1")
            .status()
            .expect("it starts");
        assert!(status.success());
        return;
    }
    on_ring(async {
        let deadlines = Deadlines::new();
        let listener = listener();
        let target = Target::new(listener.local_addr());
        let mut before = 0;
        for round in 0..1_050 {
            if round == 50 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                before = descriptors();
            }
            let mut client = connect(&target, PATIENCE).await.expect("it connects");
            let (mut server, _) = listener.accept().await.expect("it is accepted");
            let watch = deadlines.watch(&client, Instant::now() + PATIENCE);
            // Every way to end: in order, in the middle of a read, with the watch outliving the stream, and with a
            // write that nobody takes.
            match round % 4 {
                0 => server.write_all(&mut b"bye".to_vec()).await.expect("it goes"),
                1 => drop(tokio::time::timeout(Duration::ZERO, client.read(&mut Vec::new())).await),
                2 => spawn(async move { client.read(&mut Vec::new()).await }).abort(),
                _ => drop(
                    tokio::time::timeout(Duration::ZERO, client.write_all(&mut vec![0; 9_000_000])).await,
                ),
            }
            drop(server);
            drop(watch);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let after = descriptors();
        assert!(after <= before + 2, "{before} descriptors became {after}");
    });
}

#[test]
fn a_dropped_listener_accepts_nobody() {
    on_ring(async {
        let listener = listener();
        let target = Target::new(listener.local_addr());
        let accepting = spawn(async move { listener.accept().await.map(drop) });
        tokio::task::yield_now().await;
        accepting.abort();
        assert!(accepting.await.expect_err("aborted").is_cancelled());
        let fault = connect(&target, PATIENCE).await.expect_err("nobody listens");
        assert_eq!(fault.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn several_listeners_share_a_port() {
    on_ring(async {
        let first = listener();
        let second = Listener::bind(first.local_addr(), 16).expect("the port is shared");
        assert_eq!(first.local_addr(), second.local_addr());
        let foreign = Listener::bind("203.0.113.9:0".parse().expect("an address"), 16);
        assert_eq!(foreign.map(drop).expect_err("not here").kind(), io::ErrorKind::AddrNotAvailable);
        drop(first);
        connect(&Target::new(second.local_addr()), PATIENCE).await.expect("the other one takes it");
        second.accept().await.expect("it is accepted");
    });
}
