//! The sixteen checks, in the order of definitions B.10.

use std::sync::Arc;

use engine::Result;

use super::probe::{Probe, noise, transfer};
use super::{Audit, of, share};
use crate::attack::cascade::{ApgdLoss, Stage};
use crate::attack::patch_fool::PatchFoolConfig;
use crate::attack::{AttackConfig, Norm};
use crate::eps::Eps;
use crate::eval::randomised::Randomised;
use crate::report::lab::Check;

/// Half a point of accuracy: what more effort may still change.
const HALF_A_POINT: f64 = 0.005;
/// Share of samples without a usable gradient from which on figures mean little.
const FEW: f64 = 0.01;

/// What a check found.
pub(super) struct Found {
    passed: bool,
    figure: String,
    detail: &'static str,
}

impl Found {
    fn new(passed: bool, figure: String, detail: &'static str) -> Self {
        Self { passed, figure, detail }
    }

    pub fn named(self, number: u32, name: &str) -> Check {
        let Self { passed, figure, detail } = self;
        Check { number, name: name.to_owned(), passed, figure, detail: detail.to_owned() }
    }
}

type Make = fn(&mut Audit) -> Result<Found>;

/// Names and checks.
pub(super) const ALL: [(&str, Make); 16] = [
    ("iterative attacks are at least as strong as a single step", iterative),
    ("accuracy falls as eps grows", radii),
    ("an unbounded attack reaches 0%", unbounded),
    ("random noise is weaker than PGD", random_noise),
    ("gradient-free search is weaker than the white box", gradient_free),
    ("the white box is at least as strong as transfer from an undefended twin", transferred),
    ("doubling the steps changes less than half a point", doubled),
    ("restarts change less than half a point", restarted),
    ("losses rise and gradients exist", gradients),
    ("targeted and untargeted attacks both succeed", targeted),
    ("the worst case per sample over all attacks is what counts", worst),
    ("clean accuracy is stated, and clean errors count as errors", clean),
    ("with all randomness fixed the attack succeeds", fixed),
    ("other norms break the model too", norms),
    ("everything needed to repeat the figures is recorded", recorded),
    ("successes survive rounding to 8 bits", rounded),
];

fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

fn iterative(audit: &mut Audit) -> Result<Found> {
    let single = audit.accuracy(&Stage::Pgd(AttackConfig::fgsm(audit.config.eps.clone())))?;
    let many = audit.accuracy(&audit.pgd())?;
    let figure = format!("PGD-{} {}, FGSM {}", audit.config.steps, percent(many), percent(single));
    Ok(Found::new(many <= single, figure, "an iterative attack that does worse is stuck: gradients are masked"))
}

fn radii(audit: &mut Audit) -> Result<Found> {
    let (mut found, mut texts) = (Vec::new(), Vec::new());
    for eps in audit.grid()? {
        let accuracy = audit.accuracy(&audit.pgd_at(&eps, audit.config.steps))?;
        texts.push(format!("{eps}: {}", percent(accuracy)));
        found.push(accuracy);
    }
    let falls = found.windows(2).all(|pair| matches!(pair, [before, after] if after < before || *after == 0.0));
    Ok(Found::new(
        falls,
        texts.join(", "),
        "accuracy that stays the same in a larger ball says that the attack doesn't use it",
    ))
}

fn unbounded(audit: &mut Audit) -> Result<Found> {
    let accuracy = audit.accuracy(&audit.pgd_at(&Eps::fraction(1, 1), audit.config.steps))?;
    Ok(Found::new(
        accuracy == 0.0,
        format!("eps 1: {}", percent(accuracy)),
        "any image may become any other: what is left is masking",
    ))
}

fn random_noise(audit: &mut Audit) -> Result<Found> {
    let draws = audit.config.noise_draws;
    let white = audit.accuracy(&audit.pgd())?;
    let random = noise(audit, draws)?;
    let figure = format!("worst of {draws} noises {}, PGD {}", percent(random), percent(white));
    Ok(Found::new(random >= white, figure, "random search that beats gradients says that gradients are masked"))
}

fn gradient_free(audit: &mut Audit) -> Result<Found> {
    let square = audit.accuracy(&audit.square())?;
    let white = audit.accuracy(&audit.apgd(ApgdLoss::Ce))?.min(audit.accuracy(&audit.pgd())?);
    let figure = format!("Square, {} queries {}, white box {}", audit.config.queries, percent(square), percent(white));
    Ok(Found::new(square >= white, figure, "a black box that beats the white box says that gradients are masked"))
}

fn transferred(audit: &mut Audit) -> Result<Found> {
    let white = audit.accuracy(&audit.pgd())?;
    let detail = "a stranger's gradients that do better than the model's own say that those are masked";
    Ok(match transfer(audit)? {
        Some((twin, moved)) => {
            let figure =
                format!("transfer {} (the twin itself {}), PGD {}", percent(moved), percent(twin), percent(white));
            Found::new(moved >= white, figure, detail)
        }
        None => {
            Found::new(false, "not made: no twin".to_owned(), "give an undefended model of the same task: --twin FILE")
        }
    })
}

fn doubled(audit: &mut Audit) -> Result<Found> {
    let steps = audit.config.steps;
    let once = audit.accuracy(&audit.pgd())?;
    let twice = audit.accuracy(&audit.pgd_at(&audit.config.eps, 2 * steps))?;
    let figure = format!("PGD-{steps} {}, PGD-{} {}", percent(once), 2 * steps, percent(twice));
    Ok(Found::new((once - twice).abs() < HALF_A_POINT, figure, "the attack has not converged: raise --steps"))
}

fn restarted(audit: &mut Audit) -> Result<Found> {
    let once = audit.accuracy(&audit.pgd())?;
    let restarts = audit.config.restarts;
    let again = match audit.pgd() {
        Stage::Pgd(config) => Stage::Pgd(AttackConfig { restarts, ..config }),
        stage => stage,
    };
    let worst = audit.accuracy(&again)?;
    let figure = format!("one start {}, {restarts} starts {}", percent(once), percent(worst));
    Ok(Found::new(
        once - worst < HALF_A_POINT,
        figure,
        "a start decides: report the worst of several, or use AutoAttack",
    ))
}

fn gradients(audit: &mut Audit) -> Result<Found> {
    let mut probe = Probe::new(audit)?;
    let (curve, gradients) = probe.run(audit)?;
    let rises = matches!((curve.first(), curve.last()), (Some(first), Some(last)) if last > first);
    let broken = of(gradients.zero + gradients.not_finite, gradients.samples);
    let shown: Vec<String> = curve.iter().map(|loss| format!("{loss:.3}")).collect();
    let figure = format!(
        "mean loss {}; {} of {} gradients are 0 or not finite",
        shown.join(" "),
        gradients.zero + gradients.not_finite,
        gradients.samples
    );
    Ok(Found::new(
        rises && broken < FEW,
        figure,
        "samples without a gradient can't be attacked by it: attack the margin, and without gradients",
    ))
}

fn targeted(audit: &mut Audit) -> Result<Found> {
    let untargeted = audit.accuracy(&audit.apgd(ApgdLoss::Ce))?;
    if audit.audited.config.classes < 4 {
        let figure = format!("untargeted {}; the targeted loss needs 4 classes", percent(untargeted));
        return Ok(Found::new(false, figure, "a model of so few classes is attacked untargeted only"));
    }
    let toward = audit.accuracy(&audit.apgd(ApgdLoss::Targeted))?;
    let clean = audit.clean_accuracy()?;
    let figure = format!("untargeted {}, targeted {}, clean {}", percent(untargeted), percent(toward), percent(clean));
    let succeed = (untargeted < clean && toward < clean) || clean == 0.0;
    Ok(Found::new(succeed, figure, "an attack that changes nothing is not an attack: one of the two losses is masked"))
}

fn worst(audit: &mut Audit) -> Result<Found> {
    let (mut sum, mut least, stages) = (0.0, f64::INFINITY, audit.ensemble());
    for stage in &stages {
        let accuracy = audit.accuracy(stage)?;
        (sum, least) = (sum + accuracy, least.min(accuracy));
    }
    let worst = audit.worst_case()?;
    let [found, confirmed, _] = audit.verified()?;
    let mean = sum / f64::from(u32::try_from(stages.len()).unwrap_or(1));
    let figure = format!(
        "worst case {}, strongest attack {}, mean of attacks {}; {confirmed} of {found} adversarial images fool again",
        percent(worst),
        percent(least),
        percent(mean)
    );
    let detail =
        "a success that can't be repeated is none: the model is random, or its inputs are not what was attacked";
    Ok(Found::new(worst <= least && confirmed == found, figure, detail))
}

fn clean(audit: &mut Audit) -> Result<Found> {
    let clean = audit.clean_accuracy()?;
    let chance = of(1, audit.audited.config.classes);
    let robust = audit.worst_case()?;
    let figure =
        format!("clean {}, chance {}, robust {} of all samples", percent(clean), percent(chance), percent(robust));
    Ok(Found::new(clean > chance && robust <= clean, figure, "a model at chance has nothing to defend"))
}

fn fixed(audit: &mut Audit) -> Result<Found> {
    let Audit { audited, config, .. } = audit;
    if audited.config.stochastic.is_none() {
        let again = audit.evaluator.outputs(audit.audited.data)?;
        let same = again.probabilities == audit.clean.probabilities;
        let figure = "no stochastic layers; two evaluations give the same bits".to_owned();
        let figure = if same { figure } else { "no stochastic layers, yet two evaluations differ".to_owned() };
        return Ok(Found::new(same, figure, "a deterministic model must answer the same twice"));
    }
    let (device, batch) = (audited.device, config.batch.min(audited.data.len()));
    let mut model = Randomised::new(device, audited.config, audited.tensors, batch, config.seed)?;
    let data = Arc::clone(audited.data);
    let Stage::Pgd(attack) = audit.pgd() else {
        return Ok(Found::new(false, String::new(), ""));
    };
    let found = model.fixed_noise(&data, &attack, 0)?;
    let figure = format!(
        "one draw: clean {}, attacked {}; mean network attacked {}",
        percent(found.clean),
        percent(found.accuracy),
        percent(found.twin)
    );
    Ok(Found::new(found.passes, figure, "a model whose randomness stands still must be as weak as its mean network"))
}

fn norms(audit: &mut Audit) -> Result<Found> {
    let eps = audit.config.eps_l2.clone();
    let alpha = Eps::length(&format!("{}", 2.5 * eps.value() / f64::from(audit.config.steps)))?;
    let l2 = Stage::Pgd(AttackConfig { norm: Norm::L2, ..AttackConfig::pgd(eps.clone(), alpha, audit.config.steps) });
    let (euclidean, clean) = (audit.accuracy(&l2)?, audit.clean_accuracy()?);
    let patch = PatchFoolConfig {
        steps: audit.config.patch_steps,
        stochastic: audit.config.draws > 0,
        ..PatchFoolConfig::default()
    };
    let data = Arc::clone(audit.audited.data);
    let patched = audit.evaluator.patched(&data, &patch, &mut |_| Ok(()))?.measured.accuracy;
    let figure =
        format!("L2 {eps} {}, one patch (L0) {}, clean {}", percent(euclidean), percent(patched), percent(clean));
    let detail = "a defence for one norm that shows no loss in others is more likely masked than general";
    Ok(Found::new((euclidean < clean && patched < clean) || clean == 0.0, figure, detail))
}

fn recorded(audit: &mut Audit) -> Result<Found> {
    let figure = format!(
        "eps {} with images in [0, 1], normaliser inside the model, seed {}, hashes of weights and data {}",
        audit.config.eps,
        audit.config.seed,
        if audit.audited.is_recorded { "kept" } else { "missing" }
    );
    Ok(Found::new(audit.audited.is_recorded, figure, "see `run` in audit.json"))
}

fn rounded(audit: &mut Audit) -> Result<Found> {
    let [_, confirmed, after] = audit.verified()?;
    let samples = audit.under(&audit.pgd())?;
    let lost = of(confirmed.saturating_sub(after), samples.len().max(1) * audit.ensemble().len());
    let robust = share(audit.under(&audit.pgd())?);
    let figure =
        format!("{after} of {confirmed} adversarial images fool as 8-bit images; PGD leaves {}", percent(robust));
    Ok(Found::new(
        lost < HALF_A_POINT,
        figure,
        "successes between two levels of a pixel are not images: attack with a margin",
    ))
}
