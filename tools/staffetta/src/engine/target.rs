//! Finds the running engine from `--control`, `--config`, the environment or the usual places.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::Client;

/// Where a configuration is looked for when nothing is said.
const USUAL_PLACES: [&str; 2] = ["staffetta.toml", "/etc/staffetta/staffetta.toml"];

/// The options of every command that speaks to a running engine.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Connect {
    /// Configuration file of the engine: its control socket is used
    #[arg(long, value_name = "FILE", conflicts_with = "control", help_heading = "Engine")]
    pub(crate) config: Option<PathBuf>,
    /// Control socket path, or http://HOST:PORT
    #[arg(long, value_name = "PATH|URL", help_heading = "Engine")]
    pub(crate) control: Option<String>,
    /// API token (or the environment variable STAFFETTA_TOKEN)
    #[arg(long, value_name = "TOKEN", help_heading = "Engine")]
    pub(crate) token: Option<String>,
    /// Print the API's answer as JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// An engine's door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Its control socket.
    Unix(PathBuf),
    /// Its HTTP address, `host:port`.
    Http(String),
}

impl Connect {
    /// A client for the engine that these options name.
    ///
    /// # Errors
    /// When no engine is named and none is configured in the usual places.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = self.token.clone().or_else(|| environment("STAFFETTA_TOKEN"));
        Ok(Client::new(self.target()?, token))
    }

    fn target(&self) -> anyhow::Result<Target> {
        if let Some(control) = &self.control {
            return Target::parse(control);
        }
        if let Some(config) = &self.config {
            return from_config(config);
        }
        if let Some(control) = environment("STAFFETTA_CONTROL") {
            return Target::parse(&control);
        }
        if let Some(config) = environment("STAFFETTA_CONFIG") {
            return from_config(Path::new(&config));
        }
        match USUAL_PLACES.iter().map(Path::new).find(|place| place.exists()) {
            Some(place) => from_config(place),
            None => bail!(
                "which engine? Name it with --config FILE or --control PATH|URL (or STAFFETTA_CONFIG, STAFFETTA_CONTROL); \
                 there is neither ./staffetta.toml nor /etc/staffetta/staffetta.toml"
            ),
        }
    }

    /// How to repeat the choice of engine on a command line, with a leading space; empty when nothing was said.
    pub(crate) fn repeat(&self) -> String {
        match (&self.control, &self.config) {
            (Some(control), _) => format!(" --control {control}"),
            (None, Some(config)) => format!(" --config {}", config.display()),
            (None, None) => String::new(),
        }
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn from_config(file: &Path) -> anyhow::Result<Target> {
    let config = crate::config::load(file).context("cannot tell where the engine listens")?;
    Ok(Target::Unix(config.node.control.clone()))
}

impl Target {
    /// Reads what was given to `--control`.
    ///
    /// # Errors
    /// For https, and for a URL without a host.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(rest) = text.strip_prefix("http://") {
            let authority = rest.split('/').next().unwrap_or_default();
            if authority.is_empty() {
                bail!("`{text}` names no host: use http://HOST:PORT");
            }
            let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            return Ok(Self::Http(if has_port { authority.to_owned() } else { format!("{authority}:80") }));
        }
        if text.starts_with("https://") {
            bail!("the engine's own API speaks plain HTTP: use http://HOST:PORT, or the control socket");
        }
        Ok(Self::Unix(PathBuf::from(text.strip_prefix("unix:").unwrap_or(text))))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_is_a_path_or_a_url() {
        for (text, target) in [
            ("/run/staffetta.sock", Target::Unix("/run/staffetta.sock".into())),
            ("unix:/run/s", Target::Unix("/run/s".into())),
            ("http://127.0.0.1:8025", Target::Http("127.0.0.1:8025".into())),
            ("http://mail.test/v1", Target::Http("mail.test:80".into())),
            ("http://[::1]:8025", Target::Http("[::1]:8025".into())),
        ] {
            assert_eq!(Target::parse(text).expect(text), target);
        }
        assert!(Target::parse("https://x").is_err());
        assert!(Target::parse("http:///v1").is_err());
    }

    #[test]
    fn the_choice_of_engine_can_be_repeated() {
        let connect = Connect { control: Some("/run/s".into()), ..Connect::default() };
        assert_eq!(connect.repeat(), " --control /run/s");
        assert_eq!(Connect::default().repeat(), "");
    }
}
