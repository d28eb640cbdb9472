//! What training methods have to do with one another: a method whose addition is switched off is the plainer method, bit for bit.

mod support;

use std::sync::Arc;

use engine::check::nmse;
use engine::{DType, Device, Result, Role, Store, Tape, Tensor};
use models::vit::{Run, Vit};
use models::{Normalisation, VitConfig};
use support::vit::{config, lively};
use train::attack::{AttackConfig, Start};
use train::data::{Augment, Dataset, Options, Split, open};
use train::eps::Eps;
use train::nullspace::approximate::{Level, Noise, NullspaceConfig};
use train::recipe::{Adversarial, Freeze, Loss, Method, Optimizer, Recipe};
use train::trainer::Trainer;

fn model() -> VitConfig {
    VitConfig { image: [32, 32], patch: 8, classes: 10, ..config(12, 2, 2) }
}

fn data() -> Result<Arc<Dataset>> {
    open("synthetic", Split::Train, &Options { limit: Some(20), ..Options::default() }).map(Arc::new)
}

fn recipe(method: Method) -> Recipe {
    Recipe { epochs: 1, batch: 8, seed: 3, lr: 2e-3, method, ..Recipe::default() }
}

/// Losses of all steps, and the weights after them.
type Outcome = (Vec<f64>, Vec<(String, Tensor)>);

fn outcome(recipe: &Recipe) -> Outcome {
    run(recipe).unwrap_or_else(|error| unreachable!("{error}"))
}

fn run(recipe: &Recipe) -> Result<Outcome> {
    let mut trainer = Trainer::new(&Device::cpu(Some(2))?, &model(), &lively(&model(), 1)?, data()?, recipe.clone())?;
    let mut losses = Vec::new();
    while !trainer.is_done() {
        trainer.run_epoch(&mut |_, report| {
            losses.push(report.loss);
            Ok(true)
        })?;
    }
    Ok((losses, trainer.weights()?))
}

/// PGD training without ARD and PRM.
fn pgd() -> Adversarial {
    let attack = AttackConfig::pgd(Eps::fraction(8, 255), Eps::fraction(2, 255), 3);
    Adversarial { attack, warmup: 0.0, ..Adversarial::default() }
}

fn adversarial(adversarial: Adversarial) -> Outcome {
    outcome(&recipe(Method::Adversarial(adversarial)))
}

/// So many epochs of warm-up that q stays next to 0.
const NEVER: f64 = 1e12;

#[test]
fn after_the_warm_up_every_arm_is_plain_pgd_training() {
    let plain = adversarial(pgd());
    assert_ne!(plain, outcome(&recipe(Method::Plain)));
    let tricks = AttackConfig { ard: true, prm: true, ..pgd().attack };
    let arms = [
        Adversarial { attack: tricks, ..pgd() },
        Adversarial { eps_ramp: true, ..pgd() },
        Adversarial { clean_warmup: true, ..pgd() },
    ];
    for arm in arms {
        assert!(adversarial(arm.clone()) == plain, "{arm:?}");
        assert!(adversarial(Adversarial { warmup: NEVER, ..arm.clone() }) != plain, "{arm:?} has no warm-up");
    }
}

#[test]
fn after_the_warm_up_trades_and_mart_are_what_they_are_without_ard_and_prm() {
    for loss in [Loss::TRADES, Loss::MART, Loss::CleanAndAttacked] {
        let plain = pgd().with_loss(loss);
        let tricks = AttackConfig { ard: true, prm: true, ..plain.attack.clone() };
        let arm = Adversarial { attack: tricks, ..plain.clone() };
        let expected = adversarial(plain);
        assert!(adversarial(arm.clone()) == expected, "{loss:?}");
        assert!(adversarial(Adversarial { warmup: NEVER, ..arm }) != expected, "{loss:?} has no warm-up");
    }
}

#[test]
fn trades_without_its_divergence_is_plain_training() {
    let plain = outcome(&recipe(Method::Plain));
    assert!(adversarial(pgd().with_loss(Loss::Trades { beta: 0.0 })) == plain);
    let first = |beta| adversarial(pgd().with_loss(Loss::Trades { beta })).0[0];
    let [none, one, six] = [0.0, 1.0, 6.0].map(first);
    // The divergence is not negative, and the loss is linear in its weight.
    assert!(one > none && ((six - none) / (one - none) - 6.0).abs() < 1e-3, "{none} {one} {six}");
}

#[test]
fn mart_without_its_divergence_is_the_boosted_cross_entropy_of_attacked_images() {
    let start = |mut arm: Adversarial| {
        arm.attack.start = Start::Normal;
        arm
    };
    let pgd_loss = adversarial(start(pgd())).0[0];
    let boosted = adversarial(pgd().with_loss(Loss::Mart { beta: 0.0 })).0[0];
    // The boost of the most probable wrong class lies between that of a uniform guess and that of certainty.
    let (least, most) = (-(1.0_f64 - 1.0 / 10.0).ln(), -1e-4_f64.ln());
    assert!(boosted - pgd_loss > least * 0.5 && boosted - pgd_loss < most, "{boosted} {pgd_loss}");
    assert!(adversarial(pgd().with_loss(Loss::MART)).0[0] > boosted);
}

#[test]
fn with_an_empty_ball_clean_and_attacked_images_are_the_same() {
    let attack = AttackConfig { eps: Eps::fraction(0, 255), ..pgd().attack };
    let none = Adversarial { attack, ..pgd() };
    let plain = outcome(&recipe(Method::Plain)).0[0];
    for (loss, share) in [(Loss::Ce, 1.0), (Loss::CleanAndAttacked, 2.0), (Loss::TRADES, 1.0)] {
        let loss = adversarial(none.clone().with_loss(loss)).0[0];
        assert!((loss - share * plain).abs() < 1e-5, "{loss} {plain}");
    }
}

#[test]
fn every_method_learns() {
    let methods = [Loss::Ce, Loss::CleanAndAttacked, Loss::TRADES, Loss::MART];
    let methods = methods.into_iter().map(|loss| Method::Adversarial(pgd().with_loss(loss)));
    for method in methods.chain([Method::Plain, Method::Nullspace(NullspaceConfig::default())]) {
        let losses = outcome(&Recipe { epochs: 8, lr: 5e-3, ..recipe(method.clone()) }).0;
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / 3.0;
        let (first, last) = (mean(&losses[..3]), mean(&losses[losses.len() - 3..]));
        assert!(last < 0.9 * first, "{method:?}: {first} {last}");
    }
}

#[test]
fn a_frozen_backbone_stays_and_its_head_takes_the_step_it_takes_in_full_training() {
    let (start, is_head) = (lively(&model(), 1).unwrap(), |name: &str| name.starts_with("head."));
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
    for method in [Method::Plain, Method::Adversarial(pgd()), Method::Nullspace(NullspaceConfig::default())] {
        let one = Recipe { steps_per_epoch: Some(1), clip: None, optimizer, ..recipe(method) };
        let (full_losses, full) = outcome(&one);
        let (losses, frozen) = outcome(&Recipe { freeze: Freeze::Backbone, ..one.clone() });
        assert_eq!(losses, full_losses);
        assert_eq!(frozen.len(), start.len());
        for ((before, full), (name, frozen)) in start.iter().zip(&full).zip(&frozen) {
            assert!(before.0 == *name && full.0 == *name);
            assert!(*frozen == if is_head(name) { full.1.clone() } else { before.1.clone() }, "{name}");
            assert!(full.1 != before.1, "{name} is not trained");
        }
    }
    let frozen = Recipe { freeze: Freeze::Backbone, epochs: 8, lr: 2e-2, ..recipe(Method::Plain) };
    let losses = outcome(&frozen).0;
    assert!(losses[losses.len() - 1] < losses[0], "{losses:?}");
}

#[test]
fn noise_on_normalised_images_is_its_own_embedding_on_their_tokens() {
    let config = VitConfig { normalisation: Normalisation::imagenet(), ..model() };
    let mut store = Store::new(Device::cpu(Some(1)).unwrap()).unwrap();
    let vit = Vit::new(&mut store, "params", config.clone(), &lively(&config, 2).unwrap(), DType::F32).unwrap();
    let noise = engine::check::random::<f32>(&[1, 3, 32, 32], 5, "noise").unwrap();
    let images = engine::check::random::<f32>(&[2, 3, 32, 32], 5, "images").unwrap();
    // Before normalisation, noise is its deviations' multiple.
    let noisy = Tensor::from_fn::<f32>(images.dims(), |at| {
        let (plane, pixel) = (at / 1024 % 3, at % 3072);
        images.values::<f32>().unwrap()[at] + config.normalisation.std[plane] * noise.values::<f32>().unwrap()[pixel]
    });
    let [images, noisy, noise] = [("images", images), ("noisy", noisy.unwrap()), ("noise", noise)]
        .map(|(name, tensor)| store.constant(name, Role::Data, &tensor).unwrap());
    let mut tape = Tape::new();
    let [images, noisy, noise] = [images, noisy, noise].map(|var| tape.var(&store, var).unwrap());
    let on_tokens = vit.embed_noise(&mut tape, &store, noise).unwrap();
    let patches = vit.embed(&mut tape, &store, images).unwrap();
    let run = Run { noise: Some(on_tokens), ..Run::default() };
    let ours = vit.encode(&mut tape, &store, patches, &run).unwrap().logits;
    let direct = vit.forward(&mut tape, &store, noisy, &Run::default()).unwrap().logits;
    let plan = tape.plan(&mut store, &[ours, direct]).unwrap();
    plan.replay(&mut store).unwrap();
    let [ours, direct] = [ours, direct].map(|value| plan.read(&store, value).unwrap().to_f64());
    assert!(nmse(&ours, &direct) < 1e-10, "{ours:?} {direct:?}");
}

#[test]
fn noise_without_noise_is_the_clean_loss_twice_on_either_level() {
    let plain = outcome(&recipe(Method::Plain)).0[0];
    for level in [Level::Encoder, Level::Image] {
        let with = |noise| {
            let config = NullspaceConfig { noise, level, rounds: 1, ..NullspaceConfig::default() };
            outcome(&recipe(Method::Nullspace(config))).0[0]
        };
        assert!((with(Noise::None) - 2.0 * plain).abs() < 1e-5);
        let found = [Noise::Learned, Noise::Permuted, Noise::Random].map(with);
        assert!(found.iter().all(|loss| (loss - 2.0 * plain).abs() > 1e-6), "{level:?} {found:?} {plain}");
        assert!(found[0] != found[1] && found[1] != found[2], "{level:?} {found:?}");
    }
}

#[test]
fn losses_that_make_no_sense_are_refused_with_the_remedy() {
    let refused = |arm: Adversarial, augment| {
        let recipe = Recipe { augment, ..recipe(Method::Adversarial(arm)) };
        recipe.validate().unwrap_err().to_string()
    };
    let plain = Augment::default();
    let arm = Adversarial { loss: Loss::TRADES, ..pgd() };
    assert!(refused(arm, plain).contains("objective = \"kl\""));
    let mixed = Augment { mixup: 0.8, ..plain };
    assert!(refused(pgd().with_loss(Loss::MART), mixed).contains("mixup"));
    for beta in [-1.0, f32::NAN] {
        assert!(refused(pgd().with_loss(Loss::Trades { beta }), plain).contains("beta"));
    }
    assert!(refused(Adversarial { warmup: -1.0, ..pgd() }, plain).contains("warmup"));
}

#[test]
fn before_the_warm_up_the_clean_arm_is_training_without_attack() {
    let arm = Adversarial { clean_warmup: true, warmup: NEVER, ..pgd() };
    assert!(adversarial(arm) == outcome(&recipe(Method::Plain)));
}

#[test]
fn half_way_up_the_ramp_the_ball_has_half_its_radius() {
    let first = |arm| Recipe { steps_per_epoch: Some(1), ..recipe(Method::Adversarial(arm)) };
    let ramp = Adversarial { eps_ramp: true, warmup: 2.0, ..pgd() };
    let half = AttackConfig { eps: Eps::fraction(4, 255), ..pgd().attack };
    assert!(outcome(&first(ramp)) == outcome(&first(Adversarial { attack: half, ..pgd() })));
}

#[test]
fn the_attack_ascends_on_the_mixed_targets_that_are_trained_on() {
    let augment = Augment { mixup: 0.8, cutmix: 1.0, smoothing: 0.1, ..Augment::default() };
    let mixed = |method| outcome(&Recipe { augment, ..recipe(method) }).0;
    let (clean, attacked) = (mixed(Method::Plain), mixed(Method::Adversarial(pgd())));
    // The first step starts from equal weights: there the attack can only have raised the loss that is trained on.
    assert!(attacked[0] > clean[0], "{attacked:?} {clean:?}");
}
