//! Projected gradient descent as plans (Madry et al., 1706.06083), with FGSM, margin loss, L2, restarts, expectation over
//! transformation, and the two training-time tricks of 2210.07540: ARD and PRM (algorithm A.3 of the method notes).

use engine::rng::Philox;
use engine::{DType, Error, Plan, Result, Store, Tape, Tensor, Value, Var};
use kernels::advance::advance;
use kernels::combine::combine;
use kernels::common::attack::Step;
use kernels::cross_entropy::cross_entropy;
use kernels::ema::ema;
use kernels::keep_best::keep_best;
use kernels::kl_divergence::kl_divergence;
use kernels::l2_step::l2_step;
use kernels::linf_step::linf_step;
use kernels::margin::margin;
use kernels::patch_mask::patch_mask;
use kernels::random_start;
use models::Vit;
use models::vit::Run;

use super::mim::Velocity;
use super::{AttackConfig, Norm, Objective, Start, eot};
use crate::inputs::Inputs;

/// A planned attack on one model and one batch's variables.
pub struct Attack {
    config: AttackConfig,
    start: Plan,
    step: Plan,
    /// Scores the perturbation and keeps the best per sample; only with restarts.
    choose: Option<Choose>,
    inputs: Inputs,
    vars: Vars,
}

struct Choose {
    plan: Plan,
    best: Var,
    score: Var,
    /// Random state of the draws by which iterates are accepted.
    state: Var,
}

/// Variables that the plans of one attack share.
#[derive(Clone, Copy)]
struct Vars {
    random: Var,
    /// What the model draws from: the random state, or one that stands still.
    noise: Var,
    eps: Var,
    alpha: Var,
    keep: Var,
    /// With momentum.
    velocity: Option<Velocity>,
    /// Logits of the clean images [b, classes], for the objective that compares with them.
    clean: Option<Var>,
}

/// Deviation of a normal start.
const START_STD: f32 = 1e-3;

impl Attack {
    /// Plans an attack on `model` for batches in `inputs`. The result is left in `inputs.delta`.
    ///
    /// # Errors
    /// The configuration makes no attack, or the device is out of memory.
    pub fn new(store: &mut Store, model: &Vit, inputs: &Inputs, config: &AttackConfig) -> Result<Self> {
        config.validate()?;
        let state = |store: &mut Store, name: &str| store.data_var(name, DType::U32, &[engine::rng::STATE_WORDS]);
        let random = state(store, "attack.random")?;
        let vars = Vars {
            random,
            noise: if config.fixed_draw.is_some() { state(store, "attack.noise")? } else { random },
            eps: scalar(store, "attack.eps", config.eps.value())?,
            alpha: scalar(store, "attack.alpha", config.alpha.value())?,
            keep: scalar(store, "attack.keep", 1.0)?,
            velocity: config.momentum.map(|mu| Velocity::new(store, inputs, mu)).transpose()?,
            clean: match config.objective {
                Objective::Kl => {
                    let dims = [inputs.batch, model.config().classes];
                    Some(store.data_var("attack.clean", DType::F32, &dims)?)
                }
                Objective::Ce | Objective::Margin => None,
            },
        };
        let start = plan_start(store, model, inputs, config, vars)?;
        let step = plan_step(store, model, inputs, config, vars)?;
        let choose = if config.restarts > 1 || config.accept > 0 {
            Some(plan_choose(store, model, inputs, config, vars)?)
        } else {
            None
        };
        Ok(Self { config: config.clone(), start, step, choose, inputs: *inputs, vars })
    }

    /// Sets the radius of the ball to `share` of the configured one, for the runs that follow. The step length stays.
    ///
    /// # Errors
    /// The device failed.
    pub fn set_radius(&self, store: &mut Store, share: f64) -> Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "a radius")]
        store.write_values(self.vars.eps, &[(self.config.eps.value() * share) as f32])
    }

    /// What is attacked with.
    pub fn config(&self) -> &AttackConfig {
        &self.config
    }

    /// The plan of one step.
    pub fn step_plan(&self) -> &Plan {
        &self.step
    }

    /// Attacks the batch that lies in the inputs. `keep` is the keep probability q of ARD and PRM, 1 outside training.
    ///
    /// Equal (seed, step) and sample ids give equal perturbations, however the samples are batched.
    ///
    /// # Errors
    /// The device failed.
    pub fn run(&self, store: &mut Store, seed: u64, step: u32, keep: f32) -> Result<()> {
        store.write_values(self.vars.keep, &[keep])?;
        store.write_values(self.vars.random, &Philox::state(seed, step))?;
        if let Some(draw) = self.config.fixed_draw {
            store.write_values(self.vars.noise, &Philox::state(seed, draw))?;
        }
        if let Some(choose) = &self.choose {
            store.write_values(choose.state, &Philox::state(seed, step))?;
            let low = vec![f32::NEG_INFINITY; self.inputs.batch];
            store.write_values(choose.score, &low)?;
        }
        let device = store.device().clone();
        device.run(|| {
            for _ in 0..self.config.restarts {
                self.start.replay(store)?;
                let accepts = self.choose.as_ref().filter(|_| self.config.accept > 0);
                for _ in 0..self.config.steps {
                    self.step.replay(store)?;
                    if let Some(choose) = accepts {
                        choose.plan.replay(store)?;
                    }
                }
                if let (Some(choose), None) = (&self.choose, accepts) {
                    choose.plan.replay(store)?;
                }
            }
            match &self.choose {
                Some(choose) => {
                    let best = store.read(choose.best)?;
                    store.write(self.inputs.delta, &best)
                }
                None => Ok(()),
            }
        })
    }
}

fn scalar(store: &mut Store, name: &str, value: f64) -> Result<Var> {
    store.constant(name, engine::Role::Data, &Tensor::new(&[1], &[value])?.cast::<f32>()?)
}

/// Gradients [b, c, h, w] of the attack's objective to the images in `inputs` with their perturbation, as its first step follows them.
///
/// # Errors
/// The configuration makes no attack or compares with clean logits; the device failed.
pub fn gradients(
    store: &mut Store,
    model: &Vit,
    inputs: &Inputs,
    config: &AttackConfig,
    state: [u32; engine::rng::STATE_WORDS],
) -> Result<Tensor> {
    config.validate()?;
    let noise = store.data_var("attack.look", DType::U32, &[engine::rng::STATE_WORDS])?;
    store.write_values(noise, &state)?;
    let mut tape = Tape::new();
    let random = inputs.draws(&mut tape, store, noise)?;
    let delta = tape.var(store, inputs.delta)?;
    let gradient = eot::gradient(&mut tape, config.eot, config.eot_loss, delta, |tape, tag| {
        let run = Run { random: Some(random), stochastic: config.stochastic, tag, ..Run::default() };
        objective(tape, store, model, inputs, config, None, &run)
    })?;
    let plan = tape.plan(store, &[gradient])?;
    plan.replay(store)?;
    plan.read(store, gradient)
}

fn plan_start(store: &mut Store, model: &Vit, inputs: &Inputs, config: &AttackConfig, vars: Vars) -> Result<Plan> {
    let mut tape = Tape::new();
    if let Some(clean) = vars.clean {
        // The clean side does not change between steps, so it is computed once.
        let random = inputs.draws(&mut tape, store, vars.noise)?;
        let run = Run { random: Some(random), stochastic: config.stochastic, tag: "clean.", ..Run::default() };
        let images = tape.var(store, inputs.images)?;
        let logits = model.forward(&mut tape, store, images, &run)?.logits;
        ema(&mut tape, store, clean, logits, 0.0)?;
    }
    let origin = random_start::Origin {
        images: tape.var(store, inputs.images)?,
        ids: tape.var(store, inputs.ids)?,
        eps: tape.var(store, vars.eps)?,
        state: tape.var(store, vars.random)?,
    };
    let start = match (config.start, config.norm) {
        (Start::Zero, _) => random_start::Start::Zero,
        (Start::Random, Norm::Linf) => random_start::Start::Uniform,
        (Start::Random, Norm::L2) => random_start::Start::L2,
        (Start::Normal, _) => random_start::Start::Normal(START_STD),
    };
    random_start::random_start(&mut tape, store, inputs.delta, origin, start, "attack.start")?;
    if let Some(velocity) = vars.velocity {
        velocity.clear(&mut tape, store, origin)?;
    }
    advance(&mut tape, store, &[vars.random])?;
    tape.plan(store, &[])
}

/// The objective `[b]` of the model on images + delta.
fn objective(
    tape: &mut Tape,
    store: &Store,
    model: &Vit,
    inputs: &Inputs,
    config: &AttackConfig,
    clean: Option<Var>,
    run: &Run,
) -> Result<Value> {
    let images = tape.var(store, inputs.images)?;
    let delta = tape.var(store, inputs.delta)?;
    let attacked = combine(tape, &[(1.0, images), (1.0, delta)])?;
    let logits = model.forward(tape, store, attacked, run)?.logits;
    match config.objective {
        Objective::Ce => {
            let targets = tape.var(store, inputs.targets)?;
            cross_entropy(tape, logits, targets)
        }
        Objective::Margin => {
            let labels = tape.var(store, inputs.labels)?;
            margin(tape, logits, labels, None)
        }
        Objective::Kl => {
            let clean = clean.ok_or_else(|| Error::new("attack", "the clean logits are missing"))?;
            let clean = tape.var(store, clean)?;
            kl_divergence(tape, clean, logits)
        }
    }
}

fn plan_step(store: &mut Store, model: &Vit, inputs: &Inputs, config: &AttackConfig, vars: Vars) -> Result<Plan> {
    let mut tape = Tape::new();
    let random = inputs.draws(&mut tape, store, vars.noise)?;
    let keep = tape.var(store, vars.keep)?;
    if config.prm {
        // Before the forward pass: masked patches restart from 0, and the step below moves every patch.
        let state = tape.var(store, vars.random)?;
        patch_mask(&mut tape, store, inputs.delta, keep, state, model.config().patch, "attack.prm")?;
    }
    let delta = tape.var(store, inputs.delta)?;
    let gradient = eot::gradient(&mut tape, config.eot, config.eot_loss, delta, |tape, tag| {
        let run = Run {
            random: Some(random),
            stochastic: config.stochastic,
            gate: config.ard.then_some(keep),
            tag,
            ..Run::default()
        };
        objective(tape, store, model, inputs, config, vars.clean, &run)
    })?;
    let gradient = match vars.velocity {
        Some(velocity) => velocity.accumulate(&mut tape, store, gradient)?,
        None => gradient,
    };
    let step = Step {
        delta: inputs.delta,
        gradient,
        images: tape.var(store, inputs.images)?,
        eps: tape.var(store, vars.eps)?,
        alpha: tape.var(store, vars.alpha)?,
        active: None,
    };
    match config.norm {
        Norm::Linf => linf_step(&mut tape, store, step)?,
        Norm::L2 => l2_step(&mut tape, store, step)?,
    }
    advance(&mut tape, store, &[vars.random])?;
    tape.plan(store, &[])
}

fn plan_choose(store: &mut Store, model: &Vit, inputs: &Inputs, config: &AttackConfig, vars: Vars) -> Result<Choose> {
    let best = store.single("attack.best", engine::Role::Data, store.spec(inputs.delta)?)?;
    let score = store.data_var("attack.score", DType::F32, &[inputs.batch])?;
    let mut tape = Tape::new();
    let state = if config.accept > 0 {
        store.data_var("attack.accept", DType::U32, &[engine::rng::STATE_WORDS])?
    } else {
        vars.noise
    };
    let random = inputs.draws(&mut tape, store, state)?;
    let run = Run { random: Some(random), stochastic: config.stochastic, ..Run::default() };
    let scores = if config.accept > 0 {
        eot::mean(&mut tape, config.accept, "accept", |tape, tag| {
            let by_margin = AttackConfig { objective: Objective::Margin, ..config.clone() };
            objective(tape, store, model, inputs, &by_margin, vars.clean, &Run { tag, ..run })
        })?
    } else {
        objective(&mut tape, store, model, inputs, config, vars.clean, &run)?
    };
    let delta = tape.var(store, inputs.delta)?;
    keep_best(&mut tape, store, best, score, delta, scores)?;
    Ok(Choose { plan: tape.plan(store, &[])?, best, score, state })
}
