//! `staffetta completions`: completions for a shell, on stdout.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::ui;

/// Options of `completions`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints them.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(ui::out(&generate(self.shell))?)
    }
}

fn generate(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "staffetta", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = generate(shell);
            for command in ["init", "serve", "demo", "send", "ledger", "campaign", "sink"] {
                assert!(script.contains(command), "{shell} does not know {command}");
            }
        }
    }
}
