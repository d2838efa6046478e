//! pending
use clap::Args;
/// Options
#[derive(Args, Debug)]
pub(crate) struct Demo {}
impl Demo {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
