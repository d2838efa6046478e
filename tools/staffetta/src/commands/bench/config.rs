//! The engine's configuration for a measurement: what must be said, and the defaults for everything else.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// The domain that all mail is from, and whose key signs.
pub(super) const DOMAIN: &str = "bench.test";

/// What an engine is started with.
pub(super) struct Setting<'a> {
    /// Spool and event store go below this.
    pub(super) dir: &'a Path,
    /// The control socket. Its path must be short, which that of the directory need not be.
    pub(super) control: &'a Path,
    /// All mail goes here.
    pub(super) sink: SocketAddr,
    /// Required of the sink.
    pub(super) tls: bool,
    /// Shards; 0 is one per core.
    pub(super) shards: u16,
    /// The file of the signing key and the algorithm's name in the configuration.
    pub(super) key: Option<(&'a Path, &'a str)>,
}

/// A string of TOML.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

pub(super) fn text(setting: &Setting<'_>) -> String {
    let Setting { dir, control, sink, tls, shards, key } = setting;
    let mut text = format!(
        "[node]\nname = \"mta.bench.test\"\ndata_dir = {}\ncontrol = {}\nshards = {shards}\n\
         [spool]\nmin_free = \"100MiB\"\n\
         [[smtp_listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]\n\
         [[route]]\ndomain = \"*\"\nhosts = [\"{sink}\"]\ntls = \"{}\"\n\
         [provider.routed]\nconnections = 20\nmessages_per_connection = 1000000\n\
         [canary]\nenabled = false\n",
        quoted(&dir.join("data")),
        quoted(control),
        if *tls { "required" } else { "off" },
    );
    if let Some((file, algorithm)) = key {
        let _ = write!(
            text,
            "[[domain]]\nname = \"{DOMAIN}\"\n[[domain.dkim]]\nselector = \"s1\"\nkey_file = {}\nalgorithm = \"{algorithm}\"\n",
            quoted(file),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::config::Severity;

    #[test]
    fn the_engine_takes_it_without_an_objection_to_its_form() {
        let dir = Path::new("/tmp/a \"b\"");
        for (tls, key) in [(false, None), (true, Some((Path::new("/tmp/k.pem"), "ed25519-sha256")))] {
            let sink = SocketAddr::from(([127, 0, 0, 1], 2526));
            let setting = Setting { dir, control: Path::new("/tmp/c.sock"), sink, tls, shards: 0, key };
            let checked = policy::config::check("bench.toml", &text(&setting));
            let faults: Vec<_> =
                checked.problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
            assert!(checked.config.is_some(), "{faults:?}");
        }
    }
}
