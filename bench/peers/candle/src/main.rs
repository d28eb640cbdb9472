//! The 65-token DeiT-Ti training step on candle, float32, CPU. Reads one bench name per line of standard input and
//! answers one JSON line each (`bench/peers/README.md`); `RAYON_NUM_THREADS` sets the threads.

use std::io::BufRead;
use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{Conv2d, Conv2dConfig, Init, Linear, Module, Optimizer, SGD, VarBuilder, VarMap};

const BENCH: &str = "deit_ti_65_train_b64";
const BATCH: usize = 64;
const CLASSES: usize = 10;
const WIDTH: usize = 192;
const HEADS: usize = 3;
const DEPTH: usize = 12;
const TOKENS: usize = 65;

struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn new(vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints(WIDTH, "weight", Init::Const(1.0))?;
        let bias = vb.get_with_hints(WIDTH, "bias", Init::Const(0.0))?;
        Ok(Self { weight, bias })
    }

    // candle's fused layer_norm and softmax_last_dim have no backward pass: training has to take the composed ones.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-6)
    }
}

struct Block {
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            norm1: Norm::new(vb.pp("norm1"))?,
            qkv: candle_nn::linear(WIDTH, 3 * WIDTH, vb.pp("qkv"))?,
            proj: candle_nn::linear(WIDTH, WIDTH, vb.pp("proj"))?,
            norm2: Norm::new(vb.pp("norm2"))?,
            fc1: candle_nn::linear(WIDTH, 4 * WIDTH, vb.pp("fc1"))?,
            fc2: candle_nn::linear(4 * WIDTH, WIDTH, vb.pp("fc2"))?,
        })
    }

    fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let head = WIDTH / HEADS;
        let qkv = self.qkv.forward(x)?.reshape((BATCH, TOKENS, 3, HEADS, head))?;
        let qkv = qkv.permute((2, 0, 3, 1, 4))?.contiguous()?; // [3, b, h, n, d]
        let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        let scores = (q.matmul(&k.t()?)? * (head as f64).powf(-0.5))?; // [b, h, n, n]
        let out = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let out = out.transpose(1, 2)?.reshape((BATCH, TOKENS, WIDTH))?;
        self.proj.forward(&out)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attention(&self.norm1.forward(x)?)?)?;
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        x + self.fc2.forward(&hidden)?
    }
}

struct Vit {
    patch: Conv2d,
    class: Tensor,
    position: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

impl Vit {
    fn new(vb: VarBuilder) -> Result<Self> {
        let stride = Conv2dConfig { stride: 4, ..Default::default() };
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        Ok(Self {
            patch: candle_nn::conv2d(3, WIDTH, 4, stride, vb.pp("patch"))?,
            class: vb.get_with_hints((1, 1, WIDTH), "class", small)?,
            position: vb.get_with_hints((1, TOKENS, WIDTH), "position", small)?,
            blocks: (0..DEPTH).map(|i| Block::new(vb.pp(format!("blocks.{i}")))).collect::<Result<_>>()?,
            norm: Norm::new(vb.pp("norm"))?,
            head: candle_nn::linear(WIDTH, CLASSES, vb.pp("head"))?,
        })
    }

    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let patches = self.patch.forward(images)?.flatten_from(2)?.transpose(1, 2)?; // [b, 64, d]
        let class = self.class.broadcast_as((BATCH, 1, WIDTH))?;
        let mut x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)?)
    }
}

/// The model, its batch and its optimizer. candle's SGD has no momentum: its step does less work than the other peers'.
struct Step {
    model: Vit,
    optimizer: SGD,
    images: Tensor,
    labels: Tensor,
}

impl Step {
    fn new() -> Result<Self> {
        let device = Device::Cpu;
        let vars = VarMap::new();
        let model = Vit::new(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
        let all: Vec<Var> = vars.all_vars();
        let images = Tensor::rand(0f32, 1f32, (BATCH, 3, 32, 32), &device)?;
        let labels: Vec<u32> = (0..BATCH as u32).map(|i| i % CLASSES as u32).collect();
        Ok(Self {
            model,
            optimizer: SGD::new(all, 1e-3)?,
            images: ((images - 0.45)? / 0.225)?,
            labels: Tensor::new(labels, &device)?,
        })
    }

    fn run(&mut self) -> Result<f32> {
        let loss = candle_nn::loss::cross_entropy(&self.model.forward(&self.images)?, &self.labels)?;
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }
}

/// Peak resident memory of this process in MB, as Linux counts it.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}

fn main() -> Result<()> {
    let base = peak_rss_mb();
    let mut step: Option<Step> = None;
    for line in std::io::stdin().lock().lines() {
        let name = line?;
        if name.trim() != BENCH {
            let error = format!("unknown bench, the one here is {BENCH}");
            println!("{}", serde_json::json!({"bench": name, "peer": "candle", "error": error}));
            continue;
        }
        let step = match &mut step {
            Some(step) => step,
            none => {
                let mut fresh = Step::new()?;
                fresh.run()?;
                none.insert(fresh)
            }
        };
        let start = Instant::now();
        step.run()?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let answer = serde_json::json!({
            "bench": BENCH, "peer": "candle", "threads": candle_core::utils::get_num_threads(),
            "median_ms": ms, "p20_ms": ms, "p80_ms": ms, "reps": 1,
            "peak_rss_mb": peak_rss_mb(), "base_rss_mb": base, "versions": {"candle": "0.11.1"},
        });
        println!("{answer}");
    }
    Ok(())
}
