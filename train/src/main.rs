//! `vitrum`: attack, finetune and measure Vision Transformers. `vitrum --help` lists what it does.

// The crate's own name is that of its package.
extern crate vitrum_train as train;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
