//! `vitrum plan`

use std::sync::Arc;

use clap::ValueEnum;
use engine::{DType, Device, Error, Plan, Result, Store, Tape};
use kernels::cross_entropy::cross_entropy_labels;
use models::vit::Run;
use models::{Vit, VitConfig, registry};
use train::recipe::{Optimizer, Recipe};
use train::trainer::Trainer;

use super::args::{ModelArgs, positive};
use super::common::Common;
use super::dummy;

/// Print what a step would launch, and how much memory it would take, without running it
///
/// Every launch with shapes, FLOPs and bytes; then the memory of parameters, gradients, optimizer and activations, and the launch
/// at which memory is fullest.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum plan --model deit_tiny_patch16_224 --batch 64 --step training --optimizer adamw"
)]
pub struct Args {
    /// What a step does
    #[arg(long, value_enum, default_value_t = StepName::Inference)]
    step: StepName,
    /// Optimizer of a training step
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    optimizer: OptimizerName,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum StepName {
    /// Logits of images
    Inference,
    /// Gradient of the loss with respect to the images: a step of an attack
    Gradient,
    /// Loss, gradients of all parameters, update
    Training,
}

#[derive(Clone, Copy, ValueEnum)]
enum OptimizerName {
    /// With momentum 0.9 and weight decay 1e-4
    Sgd,
    Adamw,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let config = self.config()?;
        let device = common.device()?;
        let planned = |batch: usize| self.planned(&device, &config, batch);
        match planned(self.batch) {
            Ok(planned) => show(common, planned.plan()),
            Err(error) if error.is_too_large() => {
                let largest = largest(self.batch, |batch| planned(batch).is_ok());
                Err(error.with("largest batch that fits", largest.map_or("none".to_owned(), |b| b.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    fn planned(&self, device: &Device, config: &VitConfig, batch: usize) -> Result<Planned> {
        let optimizer = match (self.step, self.optimizer) {
            (StepName::Inference, _) => {
                return self.forward(device, config, batch, false).map(|plan| Planned::Forward(Box::new(plan)));
            }
            (StepName::Gradient, _) => {
                return self.forward(device, config, batch, true).map(|plan| Planned::Forward(Box::new(plan)));
            }
            (StepName::Training, OptimizerName::Sgd) => Optimizer::SGD,
            (StepName::Training, OptimizerName::Adamw) => Optimizer::ADAMW,
        };
        let recipe = Recipe { batch, optimizer, ..Recipe::default() };
        let data = Arc::new(dummy::dataset(config, 1, 0)?);
        let trainer = Trainer::new(device, config, &dummy::zeros(config)?, data, recipe)?;
        Ok(Planned::Training(Box::new(trainer)))
    }

    fn config(&self) -> Result<VitConfig> {
        match (&self.model.weights, &self.model.details.model) {
            (Some(_), _) => Ok(self.model.load()?.config),
            (None, Some(name)) => self.model.details.adapted(&registry::lookup(name)?),
            (None, None) => {
                Err(Error::new("vitrum plan", "no model is given")
                    .help("--model deit_tiny_patch16_224, or --weights FILE"))
            }
        }
    }

    fn forward(&self, device: &Device, config: &VitConfig, batch: usize, gradient: bool) -> Result<Plan> {
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), &dummy::zeros(config)?, DType::F32)?;
        let image = [batch, config.channels, config.image[0], config.image[1]];
        let images = store.data_var("images", DType::F32, &image)?;
        let labels = store.data_var("labels", DType::I32, &[batch])?;
        let mut tape = Tape::new();
        let x = tape.var(&store, images)?;
        let logits = model.forward(&mut tape, &store, x, &Run::default())?.logits;
        if !gradient {
            return tape.plan(&mut store, &[logits]);
        }
        let y = tape.var(&store, labels)?;
        let losses = cross_entropy_labels(&mut tape, logits, y, 0.0)?;
        let gradients = tape.gradients(losses, &[x])?;
        tape.plan(&mut store, &gradients)
    }
}

/// A plan with what it needs.
enum Planned {
    Forward(Box<Plan>),
    Training(Box<Trainer>),
}

impl Planned {
    fn plan(&self) -> &Plan {
        match self {
            Self::Forward(plan) => plan,
            Self::Training(trainer) => trainer.plan(),
        }
    }
}

/// The largest batch below `too_large` that fits, if any does: whatever fits, fewer fit too.
fn largest(too_large: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, too_large);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low > 0).then_some(low)
}

fn show(common: &Common, plan: &Plan) -> Result<()> {
    let screen = common.screen();
    screen.line(plan.to_string().trim_end())?;
    let (memory, work) = (plan.memory(), plan.work());
    screen.json(&serde_json::json!({
        "launches": plan.launches().count(),
        "flops": work.flops,
        "bytes_moved": work.bytes,
        "memory": {
            "parameters": memory.parameters,
            "gradients": memory.gradients,
            "optimizer": memory.optimizer,
            "data": memory.data,
            "arena": memory.arena,
            "live_peak": memory.live_peak,
            "total": memory.total(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn the_largest_batch_is_found_by_halving() {
        for most in 0..20 {
            assert_eq!(largest(20, |batch| batch <= most), (most > 0).then_some(most));
        }
        assert_eq!(largest(1, |_| true), None);
    }
}
