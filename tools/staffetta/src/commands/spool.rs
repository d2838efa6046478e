//! pending
use clap::Args;
/// Options
#[derive(Args, Debug)]
pub(crate) struct Spool {}
impl Spool {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
