//! One square matrix product: the measure of everything that is made of them.

use engine::rng::{Philox, Stream};
use engine::{DType, Device, Plan, Result, Role, Spec, Store, Tape};
use kernels::common::gemm::{Gemm, Mat, MatMut, gemm, gemm_scratch};
use kernels::linear::linear;

/// C = A B of `side` rows and columns, of uniform random values.
pub enum Product {
    /// On the host: the product alone, without a plan.
    Host { device: Device, side: usize, a: Vec<f32>, b: Vec<f32>, c: Vec<f32>, scratch: Vec<f32> },
    /// Elsewhere: a linear layer without bias, C = A B'.
    Planned { store: Box<Store>, plan: Box<Plan>, side: usize },
}

impl Product {
    /// The product on a device.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(device: &Device, side: usize) -> Result<Self> {
        let draw = |sample| -> Vec<f32> {
            let philox = Philox::new(0, 0, Stream::named("cli.sgemm"));
            (0..side * side).map(|i| philox.uniform(sample, i)).collect()
        };
        let (a, b) = (draw(0), draw(1));
        if let Some(threads) = device.threads() {
            let (c, scratch) = (vec![0.0; side * side], vec![0.0; gemm_scratch::<f32>(side, side, side, threads)]);
            return Ok(Self::Host { device: device.clone(), side, a, b, c, scratch });
        }
        let mut store = Store::new(device.clone())?;
        let spec = Spec::new(DType::F32, &[side, side])?;
        let vars = [store.single("a", Role::Data, spec)?, store.single("b", Role::Data, spec)?];
        let mut tape = Tape::new();
        for (var, values) in vars.iter().zip([&a, &b]) {
            store.write_values(*var, values)?;
        }
        let (x, weight) = (tape.var(&store, vars[0])?, tape.var(&store, vars[1])?);
        let y = linear(&mut tape, x, weight, None, None)?;
        let plan = tape.plan_with(&mut store, &[y], false)?;
        Ok(Self::Planned { store: Box::new(store), plan: Box::new(plan), side })
    }

    /// Rows and columns.
    pub fn side(&self) -> usize {
        match self {
            Self::Host { side, .. } | Self::Planned { side, .. } => *side,
        }
    }

    /// Computes it once, to the end.
    ///
    /// # Errors
    /// The device failed.
    pub fn run(&mut self) -> Result<()> {
        match self {
            Self::Host { device, side, a, b, c, scratch } => {
                let side = *side;
                let (a, b, c) = (Mat::rows(a, side), Mat::rows(b, side), MatMut::rows(c, side));
                device.run(|| gemm(Gemm::new(side, side, side, a, b, c), scratch))
            }
            Self::Planned { store, plan, .. } => {
                plan.replay(store)?;
                store.device().finish()
            }
        }
    }
}
