//! Ops and updates that exist for tests: small ones, and some that break the contract on purpose.

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Mode, Op, Result, Scratch, Spec, Target, Update, UpdateIo,
    Work,
};

/// `state -= rate * gradient`, in f64 or f32.
#[derive(Debug)]
pub struct Descend(pub f64);

impl Update for Descend {
    fn name(&self) -> &'static str {
        "descend"
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if state.len() == 1 && state == inputs {
            return Ok(());
        }
        Err(Error::new("descend", "takes a state and its gradient"))
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        let (elements, bytes) = state.first().map_or((0, 0), |state| (state.elements(), state.bytes()));
        Work::new(2 * elements, 3 * bytes)
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        let Exec::Cpu(_) = exec else { return Err(Error::new("probe", "runs on the host only")) };
        let ([state], [gradient]) = (io.state, io.inputs) else {
            return Err(Error::new("descend", "takes a state and its gradient"));
        };
        for (x, &dx) in state.host::<f64>()?.iter_mut().zip(gradient.host::<f64>()?) {
            *x -= self.0 * dx;
        }
        Ok(())
    }
}

/// What a [`Probe`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habit {
    /// `y = a^2 + b`: the gradient of `a` is launched, that of `b` is the output's own and comes at a later position.
    SquarePlus,
    /// As `SquarePlus`, but forward writes one element beyond its output.
    WritesBeyondOutput,
    /// As `SquarePlus`, but backward writes one element beyond its scratch.
    WritesBeyondScratch,
    /// As `SquarePlus`, but backward reads `a` without having named it.
    ReadsUnkept,
    /// As `SquarePlus`, but forward leaves its last element as it was.
    LeavesTheLast,
    /// As `SquarePlus`, but forward fails.
    Fails,
}

/// An op of two f64 inputs of one spec.
#[derive(Debug)]
pub struct Probe(pub Habit);

const SCRATCH: usize = 24;

impl Op for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [a, b] if a == b => Ok(*a),
            _ => Err(Error::new("probe", "takes two inputs of one spec")),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0, 1])
    }

    fn keeps(&self, _inputs: &[Spec], wanted: Inputs) -> Result<Keeps> {
        let inputs = Inputs::NONE.and_if(wanted.has(0) && self.0 != Habit::ReadsUnkept, 0);
        Ok(Keeps { inputs, passes: Inputs::of(&[1]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch { forward: 0, backward: SCRATCH }
    }

    fn cost(&self, _inputs: &[Spec], _wanted: Inputs) -> Cost {
        Cost::default()
    }

    fn forward(&self, exec: &mut Exec, mut io: Forward) -> Result<()> {
        let Exec::Cpu(_) = exec else { return Err(Error::new("probe", "runs on the host only")) };
        if self.0 == Habit::Fails {
            return Err(Error::new("probe", "fails as it was told"));
        }
        let (a, b) = (io.inputs[0].host::<f64>()?, io.inputs[1].host::<f64>()?);
        let y = io.output.host::<f64>()?;
        let skipped = usize::from(self.0 == Habit::LeavesTheLast);
        for ((y, a), b) in y.iter_mut().zip(a).zip(b).take(a.len() - skipped) {
            *y = a * a + b;
        }
        if self.0 == Habit::WritesBeyondOutput {
            // SAFETY: not sound as a library would need it, and that is the point; the planner has put a canary there.
            unsafe { y.as_mut_ptr().add(y.len()).write(1.0) }
        }
        Ok(())
    }

    fn backward(&self, exec: &mut Exec, mut io: Backward) -> Result<()> {
        let Exec::Cpu(_) = exec else { return Err(Error::new("probe", "runs on the host only")) };
        let (a, dy) = (io.inputs[0].host::<f64>()?, io.d_output.host::<f64>()?);
        if self.0 == Habit::WritesBeyondScratch {
            let scratch = io.scratch.scratch::<u8>();
            // SAFETY: as above.
            unsafe { scratch.as_mut_ptr().add(scratch.len()).write(1) }
        }
        if let Some(Some(grad)) = io.d_inputs.first_mut() {
            let mode = grad.mode;
            for ((da, a), dy) in grad.buf.host::<f64>()?.iter_mut().zip(a).zip(dy) {
                let before = if mode == Mode::Add { *da } else { 0.0 };
                *da = before + 2.0 * a * dy;
            }
        }
        Ok(())
    }
}
