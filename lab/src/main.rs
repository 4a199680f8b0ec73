//! The lab's verbs as a program of their own, for the lab's own tests. Elsewhere `plexus lab` is that program.

fn main() -> anyhow::Result<()> {
    lab::verbs::run(std::env::args_os().skip(2))
}
