use clap::Args;
use clap_complete::Shell;

/// Prints the completions of a shell.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  ckpt completions bash > ~/.local/share/bash-completion/completions/ckpt"
)]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell
    pub(in crate::cli) shell: Shell,
}
