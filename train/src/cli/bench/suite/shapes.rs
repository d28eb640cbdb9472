//! What the suite measures: names and shapes, written once. `bench/peers/torch_gpu.py` reads them from `vitrum bench --list --json`.

use serde::Serialize;

/// A named measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bench {
    pub name: String,
    pub group: &'static str,
    #[serde(flatten)]
    pub shape: Shape,
}

/// What is computed. Tensors of a network have the device's storage type; parameters of updates, and losses, are f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Shape {
    /// `y = x W'`, x `[m, k]`, W `[n, k]`; `dx = dy W`; `dW = dy' x`.
    Linear { m: usize, n: usize, k: usize, epilogue: Epilogue, pass: Pass },
    /// Self-attention of packed projections `[batch, tokens, 3 heads width]`.
    Attention { batch: usize, heads: usize, tokens: usize, width: usize, pass: Pass },
    /// Of `[rows, width]`; backward gives the gradients of x, weight and bias.
    LayerNorm { rows: usize, width: usize, pass: Pass },
    /// Of so many f32 parameters.
    Adamw { values: usize },
    /// With momentum, of so many f32 parameters.
    Sgd { values: usize },
    /// One step of PGD on `[batch, 3, side, side]`, f32.
    LinfStep { batch: usize, side: usize },
    /// With soft labels, per sample.
    CrossEntropy { batch: usize, classes: usize, pass: Pass },
    /// `[batch, tokens, width]` times uniform scales that all tokens share.
    Scale { batch: usize, tokens: usize, width: usize },
    /// `[batch, tokens, width]` times a normal random matrix `[width, width]`, one for all images or one each.
    Matrix { batch: usize, tokens: usize, width: usize, per_image: bool },
    /// One normal random matrix for each linear layer of `depth` blocks of `width`, each multiplied by one row: drawing them costs
    /// less than this.
    Draw { depth: usize, width: usize },
    /// A whole step of a model.
    Step { model: Model, batch: usize, pass: Pass },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Forward,
    /// All gradients.
    Backward,
    Dx,
    Dw,
    /// Forward, backward and AdamW.
    Train,
    /// Forward alone.
    Infer,
    /// Ten steps of PGD, then training on the result.
    Pgd10,
}

/// What is fused behind a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Epilogue {
    /// Nothing: the product alone.
    None,
    /// GELU of the sum with the bias, with what backward needs of it.
    BiasGelu,
    /// The sum with the bias and a residual `[m, n]`.
    BiasResidual,
}

/// A Vision Transformer: MLPs are four times as wide, images have three channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    pub image: usize,
    pub patch: usize,
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    pub classes: usize,
    /// Random scales in every MLP, which all tokens share.
    pub scaled: bool,
}

/// Name, width and batch size of the models whose products are measured, at 197 tokens.
const VITS: [(&str, usize, usize); 4] = [("ti", 192, 1024), ("s", 384, 512), ("b", 768, 256), ("l", 1024, 128)];

const TOKENS: usize = 197;

const fn vit16(width: usize) -> Model {
    Model { image: 224, patch: 16, width, depth: 12, heads: width / 64, classes: 1000, scaled: false }
}

/// 32 pixels, patch 4: 64 patches and the class token.
const DEIT_TI_65: Model = Model { image: 32, patch: 4, width: 192, depth: 12, heads: 3, classes: 10, scaled: false };

/// Everything; with `tiny`, shapes that take moments on an emulator.
pub fn all(tiny: bool) -> Vec<Bench> {
    let mut benches = Vec::new();
    let mut add = |group: &'static str, name: String, shape: Shape| {
        benches.push(Bench { name, group, shape: if tiny { shape.tiny() } else { shape } });
    };
    gemms(&mut add);
    epilogues(&mut add);
    attentions(&mut add);
    for (vit, width, batch) in VITS {
        for pass in [Pass::Forward, Pass::Backward] {
            let shape = Shape::LayerNorm { rows: batch * TOKENS, width, pass };
            add("layer_norm", format!("layer_norm_vit_{vit}_{}", pass.name()), shape);
        }
    }
    for (vit, values) in [("ti", 5_717_416), ("s", 22_050_664), ("b", 86_567_656)] {
        add("update", format!("adamw_vit_{vit}"), Shape::Adamw { values });
    }
    add("update", "sgd_vit_b".to_owned(), Shape::Sgd { values: 86_567_656 });
    add("update", "linf_step_b256".to_owned(), Shape::LinfStep { batch: 256, side: 224 });
    for pass in [Pass::Forward, Pass::Backward] {
        let shape = Shape::CrossEntropy { batch: 1024, classes: 1000, pass };
        add("loss", format!("cross_entropy_b1024_{}", pass.name()), shape);
    }
    stochastics(&mut add);
    steps(&mut add);
    benches
}

type Add<'a> = &'a mut dyn FnMut(&'static str, String, Shape);

fn gemms(add: Add) {
    let product = |m, n, k, pass| Shape::Linear { m, n, k, epilogue: Epilogue::None, pass };
    add("gemm", "gemm_8192".to_owned(), product(8192, 8192, 8192, Pass::Forward));
    // The largest question first: what a run that is cut off has measured should matter most.
    for (vit, d, batch) in [VITS[2], VITS[1], VITS[0], VITS[3]] {
        for (layer, n, k) in [("qkv", 3 * d, d), ("proj", d, d), ("fc1", 4 * d, d), ("fc2", d, 4 * d)] {
            for pass in [Pass::Forward, Pass::Dx, Pass::Dw] {
                let name = format!("gemm_vit_{vit}_{layer}_{}", pass.name());
                add("gemm", name, product(batch * TOKENS, n, k, pass));
            }
        }
    }
}

fn epilogues(add: Add) {
    for (vit, d, batch) in [VITS[2], VITS[1]] {
        let linear = |n, epilogue, pass| Shape::Linear { m: batch * TOKENS, n, k: d, epilogue, pass };
        for pass in [Pass::Forward, Pass::Backward] {
            let name = format!("epilogue_vit_{vit}_fc1_gelu_{}", pass.name());
            add("epilogue", name, linear(4 * d, Epilogue::BiasGelu, pass));
        }
        let name = format!("epilogue_vit_{vit}_proj_residual_forward");
        add("epilogue", name, linear(d, Epilogue::BiasResidual, Pass::Forward));
    }
}

fn attentions(add: Add) {
    let goal = [(256, 12, TOKENS, 64)];
    let lengths = [(1024, 12, 50, 64), (1024, 6, 65, 64), (256, 12, 145, 64), (256, 12, 257, 64), (64, 12, 577, 64)];
    let widths = [(256, 24, TOKENS, 32), (256, 16, TOKENS, 80), (256, 8, TOKENS, 96)];
    let batches = [(1, 12, TOKENS, 64), (16, 12, TOKENS, 64), (1024, 12, TOKENS, 64)];
    let all = goal.into_iter().chain(lengths).chain(widths).chain(batches);
    for (batch, heads, tokens, width) in all {
        for pass in [Pass::Forward, Pass::Backward] {
            let name = format!("attention_b{batch}_h{heads}_n{tokens}_d{width}_{}", pass.name());
            add("attention", name, Shape::Attention { batch, heads, tokens, width, pass });
        }
    }
}

fn stochastics(add: Add) {
    let (tokens, width) = (TOKENS, 768);
    add("stochastic", "scale_vit_b_fc1".to_owned(), Shape::Scale { batch: 256, tokens, width: 4 * width });
    let matrix = |batch, per_image| Shape::Matrix { batch, tokens, width, per_image };
    add("stochastic", "matrix_b256_shared".to_owned(), matrix(256, false));
    add("stochastic", "matrix_b64_per_image".to_owned(), matrix(64, true));
    add("stochastic", "draw_vit_b".to_owned(), Shape::Draw { depth: 12, width });
}

fn steps(add: Add) {
    let step = |model, batch, pass| Shape::Step { model, batch, pass };
    let mut step = |name: &str, model, batch, pass| add("step", name.to_owned(), step(model, batch, pass));
    step("vit_b16_train_b256", vit16(768), 256, Pass::Train);
    step("deit_ti_65_pgd10_b128", DEIT_TI_65, 128, Pass::Pgd10);
    step("vit_s16_train_b512", vit16(384), 512, Pass::Train);
    step("vit_b16_infer_b256", vit16(768), 256, Pass::Infer);
    step("vit_s16_infer_b512", vit16(384), 512, Pass::Infer);
    step("vit_b16_scaled_train_b256", Model { scaled: true, ..vit16(768) }, 256, Pass::Train);
    step("vit_ti16_train_b1024", vit16(192), 1024, Pass::Train);
    step("vit_ti16_infer_b1024", vit16(192), 1024, Pass::Infer);
    step("deit_ti_65_train_b128", DEIT_TI_65, 128, Pass::Train);
    step("vit_b16_infer_b1", vit16(768), 1, Pass::Infer);
}

impl Pass {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Dx => "dx",
            Self::Dw => "dw",
            Self::Train => "train",
            Self::Infer => "infer",
            Self::Pgd10 => "pgd10",
        }
    }
}

impl Shape {
    /// The same with sizes that take moments anywhere, tails and all.
    fn tiny(self) -> Self {
        match self {
            Self::Linear { m, n, k, epilogue, pass } => {
                Self::Linear { m: m.min(70), n: n.min(48), k: k.min(40), epilogue, pass }
            }
            Self::Attention { batch, heads, tokens, width, pass } => {
                let (batch, heads, tokens) = (batch.min(2), heads.min(2), tokens.min(19));
                Self::Attention { batch, heads, tokens, width: width.min(16), pass }
            }
            Self::LayerNorm { rows, width, pass } => Self::LayerNorm { rows: rows.min(33), width: width.min(48), pass },
            Self::Adamw { values } => Self::Adamw { values: values.min(1009) },
            Self::Sgd { values } => Self::Sgd { values: values.min(1009) },
            Self::LinfStep { batch, side } => Self::LinfStep { batch: batch.min(2), side: side.min(16) },
            Self::CrossEntropy { batch, classes, pass } => {
                Self::CrossEntropy { batch: batch.min(7), classes: classes.min(10), pass }
            }
            Self::Scale { batch, tokens, width } => {
                Self::Scale { batch: batch.min(2), tokens: tokens.min(19), width: width.min(48) }
            }
            Self::Matrix { batch, tokens, width, per_image } => {
                Self::Matrix { batch: batch.min(2), tokens: tokens.min(19), width: width.min(48), per_image }
            }
            Self::Draw { depth, width } => Self::Draw { depth: depth.min(1), width: width.min(24) },
            Self::Step { model, batch, pass } => {
                let model = Model { image: 16, patch: 8, width: 32, depth: 1, heads: 2, classes: 10, ..model };
                Self::Step { model, batch: batch.min(2), pass }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tiny_ones_are_the_same() {
        let (full, tiny) = (all(false), all(true));
        let mut names: Vec<&str> = full.iter().map(|bench| bench.name.as_str()).collect();
        assert!(tiny.iter().map(|bench| bench.name.as_str()).eq(names.iter().copied()));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn every_length_width_and_batch_is_there() {
        let has = |wanted: &dyn Fn(usize, usize, usize) -> bool| {
            all(false).iter().any(|bench| match bench.shape {
                Shape::Attention { batch, tokens, width, .. } => wanted(batch, tokens, width),
                _ => false,
            })
        };
        for length in [50, 65, 145, 197, 257, 577] {
            assert!(has(&|_, tokens, _| tokens == length), "{length} tokens");
        }
        for head in [32, 64, 80, 96] {
            assert!(has(&|_, _, width| width == head), "head width {head}");
        }
        assert!(has(&|batch, _, _| batch == 1) && has(&|batch, _, _| batch == 1024));
    }
}
