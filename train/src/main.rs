//! `vitrum`: attack, finetune and measure Vision Transformers. `vitrum --help` lists what it does.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
