//! The command line: one file per subcommand.
//!
//! Exit status: 0 done, 1 a check that was asked for failed (`selftest`), 2 bad input or a failed run; the message is on
//! standard error. Outputs are tried before the work starts, and written atomically.

mod args;
mod attack;
mod attack_args;
mod audit;
mod autoattack;
mod bench;
mod class_args;
mod common;
mod convert;
mod corrupt;
mod corruption_args;
mod demo;
mod devices;
mod dummy;
mod eval;
mod federated;
mod gallery;
mod gradients;
mod images;
mod journal;
mod nullspace;
mod patch_args;
mod plan;
mod predict;
mod privacy;
mod progress;
mod randomised;
mod recipe;
mod record;
mod repeats;
mod report;
mod screen;
mod selftest;
mod start_args;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use engine::Result;

use common::Common;

/// Attack, finetune and measure Vision Transformers.
///
/// Reads pretrained ViT and DeiT weights from safetensors files in timm, Hugging Face, torchvision or vit-pytorch naming.
#[derive(Parser)]
#[command(name = "vitrum", version, after_help = EXAMPLE, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLE: &str = "\
Example:
  vitrum                    trains, attacks and repairs a small model in a few minutes: vitrum demo
  vitrum selftest           checks every operation on this machine
  vitrum COMMAND --help     shows what a command needs, with an example";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Train(Box<train::Args>),
    Federated(Box<federated::Args>),
    Eval(Box<eval::Args>),
    Attack(attack::Args),
    Randomised(Box<randomised::Args>),
    Autoattack(Box<autoattack::Args>),
    Audit(Box<audit::Args>),
    Corrupt(corrupt::Args),
    Nullspace(Box<nullspace::Args>),
    Privacy(Box<privacy::Args>),
    Report(report::Args),
    Predict(predict::Args),
    Gradients(gradients::Args),
    Convert(convert::Args),
    Plan(plan::Args),
    Selftest(selftest::Args),
    Bench(bench::Args),
    Devices(devices::Args),
}

impl Command {
    fn run(&self, common: &Common) -> Result<ExitCode> {
        let done = |()| ExitCode::SUCCESS;
        match self {
            Self::Demo(args) => args.run(common).map(done),
            Self::Train(args) => args.run(common).map(done),
            Self::Federated(args) => args.run(common).map(done),
            Self::Eval(args) => args.run(common).map(done),
            Self::Attack(args) => args.run(common).map(done),
            Self::Randomised(args) => args.run(common).map(done),
            Self::Autoattack(args) => args.run(common).map(done),
            Self::Audit(args) => args.run(common),
            Self::Corrupt(args) => args.run(common).map(done),
            Self::Nullspace(args) => args.run(common).map(done),
            Self::Privacy(args) => args.run(common).map(done),
            Self::Report(args) => args.run(common).map(done),
            Self::Predict(args) => args.run(common).map(done),
            Self::Gradients(args) => args.run(common).map(done),
            Self::Convert(args) => args.run(common).map(done),
            Self::Plan(args) => args.run(common).map(done),
            Self::Selftest(args) => args.run(common),
            Self::Bench(args) => args.run(common).map(done),
            Self::Devices(args) => args.run(common).map(done),
        }
    }
}

/// Parses the arguments, runs what they ask for, and reports errors.
pub fn main() -> ExitCode {
    // clap itself ends the process on `--help` (status 0) and on arguments that it can't read (status 2).
    let program = Cli::command();
    let matches = program.clone().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.common.invocation = record::Invocation::new(&program, &matches);
    let command = cli.command.unwrap_or_else(|| Command::Demo(demo::Args::default()));
    command.run(&cli.common).unwrap_or_else(|error| {
        screen::note(format_args!("error: {error}"));
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_agree_with_one_another() {
        super::Cli::command().debug_assert();
    }
}
