//! The operations of Vitrum: one folder each.
//!
//! | file of an op | what |
//! |---|---|
//! | `mod.rs` | formula and gradient, the constructor that records it, `impl Op` |
//! | `reference.rs` | plain loops over any float: obviously right, run in f64 as the oracle and in f32 as the naive peer |
//! | `cpu.rs` | the fast version: SIMD leaves, parallel over rows or heads |
//! | `cases.rs` | shapes, value ranges, bench sizes; one list for tests, `vitrum selftest` and benches |
//!
//! Adding an op is one folder, its `pub mod` line, and its line in [`registry`].

pub mod activation;
pub mod adamw;
pub mod advance;
pub mod apgd_check;
pub mod apgd_step;
pub mod attack_watch;
pub mod attention;
pub mod box_adam;
pub mod cases;
pub mod cast;
pub mod combine;
pub mod common;
pub mod correct;
pub mod cross_entropy;
pub mod dlr;
pub mod drop_path;
pub mod ema;
pub mod fab_choose;
pub mod fab_look;
pub mod fab_step;
pub mod global_norm;
pub mod grad_gate;
pub mod keep_best;
pub mod kl_divergence;
pub mod l2_step;
pub mod layer_norm;
pub mod linear;
pub mod linf_step;
pub mod log_received;
pub mod margin;
pub mod mark_key;
pub mod mart;
pub mod momentum;
pub mod mse;
pub mod normalise;
pub mod paste;
pub mod patch_embed;
pub mod patch_mask;
pub mod pool;
pub mod project_conflict;
pub mod random_start;
pub mod residual;
pub mod sgd;
pub mod softmax_distance;
pub mod softmin;
pub mod square_keep;
pub mod square_try;
pub mod stochastic_linear;
pub mod stochastic_scale;
pub mod targeted;
pub mod tokens;
pub mod weighted_mean;

use cases::OpCases;

/// Every op and update, with its cases.
pub fn registry() -> Vec<OpCases> {
    vec![
        activation::cases::cases(),
        adamw::cases::cases(),
        advance::cases::cases(),
        apgd_check::cases::cases(),
        apgd_step::cases::cases(),
        attack_watch::cases::cases(),
        attention::cases::cases(),
        box_adam::cases::cases(),
        cast::cases::cases(),
        combine::cases::cases(),
        correct::cases::cases(),
        cross_entropy::cases::cases(),
        dlr::cases::cases(),
        drop_path::cases::cases(),
        ema::cases::cases(),
        fab_choose::cases::cases(),
        fab_look::cases::cases(),
        fab_step::cases::cases(),
        global_norm::cases::cases(),
        grad_gate::cases::cases(),
        keep_best::cases::cases(),
        kl_divergence::cases::cases(),
        l2_step::cases::cases(),
        layer_norm::cases::cases(),
        linear::cases::cases(),
        linf_step::cases::cases(),
        log_received::cases::cases(),
        margin::cases::cases(),
        mark_key::cases::cases(),
        momentum::cases::cases(),
        mart::cases::cases(),
        mse::cases::cases(),
        normalise::cases::cases(),
        paste::cases::cases(),
        patch_embed::cases::cases(),
        patch_mask::cases::cases(),
        pool::cases::cases(),
        project_conflict::cases::cases(),
        random_start::cases::cases(),
        residual::cases::cases(),
        sgd::cases::cases(),
        softmax_distance::cases::cases(),
        softmin::cases::cases(),
        square_keep::cases::cases(),
        square_try::cases::cases(),
        stochastic_linear::cases::cases(),
        stochastic_scale::cases::cases(),
        targeted::cases::cases(),
        tokens::cases::cases(),
        weighted_mean::cases::cases(),
    ]
}
