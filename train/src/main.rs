//! `vitrum`: attack, finetune and measure Vision Transformers. `vitrum --help` lists what it does.

// The crate's own name is that of its package.
extern crate vitrum_train as train;

mod cli;

fn main() -> std::process::ExitCode {
    // Mesa's device-select layer complains on standard error where there is no display. It orders adapters, which we do.
    if std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: the first statement of the program: no other thread reads the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") }
    }
    cli::main()
}
