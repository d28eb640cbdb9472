//! What training methods have to do with one another: a method whose addition is switched off is the plainer method, bit for bit.

mod support;

use std::sync::Arc;

use engine::{Device, Result, Tensor};
use models::VitConfig;
use support::vit::{config, lively};
use train::attack::AttackConfig;
use train::data::{Augment, Dataset, Options, Split, open};
use train::eps::Eps;
use train::recipe::{Adversarial, Method, Recipe};
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
    let device = Device::cpu(Some(2)).unwrap();
    let tensors = lively(&model(), 1).unwrap();
    let mut trainer = Trainer::new(&device, &model(), &tensors, data().unwrap(), recipe.clone()).unwrap();
    let mut losses = Vec::new();
    while !trainer.is_done() {
        trainer
            .run_epoch(&mut |_, report| {
                losses.push(report.loss);
                Ok(true)
            })
            .unwrap();
    }
    (losses, trainer.weights().unwrap())
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
