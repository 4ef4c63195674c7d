use anyhow::Result;

#[derive(clap::Args)]
pub struct PackArgs {}

pub fn run(_args: PackArgs) -> Result<()> {
    anyhow::bail!("not built yet")
}
