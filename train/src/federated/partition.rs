//! Dealing a data set's samples to clients. Every sample goes to one client; who gets it is a function of seed and sample id.

use std::fmt;
use std::str::FromStr;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::data::mix::log_gamma_variable;

/// How samples are dealt.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Partition {
    /// At random, in parts whose sizes differ by at most one.
    #[default]
    Iid,
    /// Each class is divided in proportions drawn from a symmetric Dirichlet distribution (Hsu et al., 1909.06335): the smaller
    /// alpha, the fewer classes a client has. Clients may get nothing.
    Dirichlet {
        /// Concentration; 0.1, 0.5 and 1 are usual.
        alpha: f64,
    },
    /// Samples sorted by class are cut into equal shards, of which each client gets the same number (McMahan et al., 1602.05629).
    Shards {
        /// Shards of a client; 2 in the paper.
        per_client: usize,
    },
}

/// `iid`, `dirichlet:ALPHA` or `shards:PER_CLIENT`.
impl FromStr for Partition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::new("partition", "is not known").with("given", text).help("iid, dirichlet:0.5 (alpha) or shards:2")
        };
        let (kind, value) = text.split_once(':').map_or((text, None), |(kind, value)| (kind, Some(value)));
        let partition = match (kind, value) {
            ("iid", None) => Self::Iid,
            ("dirichlet", Some(alpha)) => Self::Dirichlet { alpha: alpha.parse().map_err(|_| refuse())? },
            ("shards", Some(count)) => Self::Shards { per_client: count.parse().map_err(|_| refuse())? },
            _ => return Err(refuse()),
        };
        partition.validate()?;
        Ok(partition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid => write!(f, "iid"),
            Self::Dirichlet { alpha } => write!(f, "dirichlet:{alpha}"),
            Self::Shards { per_client } => write!(f, "shards:{per_client}"),
        }
    }
}

impl Partition {
    /// Checks the parameter.
    ///
    /// # Errors
    /// An alpha that is not positive and finite, or no shards.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Dirichlet { alpha } if !(alpha.is_finite() && alpha > 0.0) => {
                Err(Error::new("partition", "alpha must be positive and finite").with("alpha", alpha).help("0.1 to 1"))
            }
            Self::Shards { per_client: 0 } => Err(Error::new("partition", "a client has 1 or more shards")),
            _ => Ok(()),
        }
    }

    /// Positions in `data` of each client's samples, ascending.
    ///
    /// # Errors
    /// The parameter is out of range, there are no clients, or more shards than samples.
    pub fn deal(&self, data: &Dataset, clients: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
        self.validate()?;
        if clients == 0 {
            return Err(Error::new("partition", "there are no clients").help("--clients 1 or more"));
        }
        let cards = cards(data, seed)?;
        let mut hands = match *self {
            Self::Iid => cut(&cards, clients),
            Self::Dirichlet { alpha } => dirichlet(&cards, data.classes().len(), clients, alpha, seed),
            Self::Shards { per_client } => shards(cards, clients, per_client, seed)?,
        };
        hands.iter_mut().for_each(|hand| hand.sort_unstable());
        Ok(hands)
    }
}

/// A sample: its position and its class.
#[derive(Clone, Copy)]
struct Card {
    position: usize,
    class: usize,
}

/// All samples in random order.
fn cards(data: &Dataset, seed: u64) -> Result<Vec<Card>> {
    let draw = Philox::new(seed, 0, Stream::named("federated.order"));
    let mut cards = Vec::with_capacity(data.len());
    for position in 0..data.len() {
        let id = data.id(position)?;
        let class = usize::try_from(data.label(position)?).unwrap_or(0);
        cards.push(((draw.bits(id, 0), id), Card { position, class }));
    }
    cards.sort_unstable_by_key(|&(key, _)| key);
    Ok(cards.into_iter().map(|(_, card)| card).collect())
}

/// Consecutive parts whose sizes differ by at most one.
fn cut(cards: &[Card], parts: usize) -> Vec<Vec<usize>> {
    let edge = |part: usize| part * (cards.len() / parts) + part.min(cards.len() % parts);
    let part = |at: usize| cards.get(edge(at)..edge(at + 1)).unwrap_or_default();
    (0..parts).map(|at| part(at).iter().map(|card| card.position).collect()).collect()
}

fn dirichlet(cards: &[Card], classes: usize, clients: usize, alpha: f64, seed: u64) -> Vec<Vec<usize>> {
    let mut hands = vec![Vec::new(); clients];
    for class in 0..classes {
        let members: Vec<usize> = cards.iter().filter(|card| card.class == class).map(|card| card.position).collect();
        let mut start = 0;
        let shares = shares(class, clients, alpha, seed);
        let mut reached = 0.0;
        for (at, (hand, share)) in hands.iter_mut().zip(shares).enumerate() {
            reached += share;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "rounded, and between 0 and the number of members"
            )]
            let end = if at + 1 == clients { members.len() } else { (reached * members.len() as f64).round() as usize };
            let end = end.clamp(start, members.len());
            hand.extend(members.get(start..end).unwrap_or_default());
            start = end;
        }
    }
    hands
}

/// A draw from the symmetric Dirichlet distribution: normalised gamma variables, by their logarithms.
fn shares(class: usize, clients: usize, alpha: f64, seed: u64) -> Vec<f64> {
    let class = u32::try_from(class).unwrap_or(u32::MAX);
    let philox = Philox::new(seed, class, Stream::named("federated.dirichlet"));
    let logarithms: Vec<f64> = (0..clients)
        .map(|client| {
            let mut element = 0;
            log_gamma_variable(alpha, &mut || {
                element += 1;
                philox.bits(u32::try_from(client).unwrap_or(u32::MAX), element - 1)
            })
        })
        .collect();
    let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logarithms.iter().map(|logarithm| libm::exp(logarithm - most)).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

fn shards(mut cards: Vec<Card>, clients: usize, per_client: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    let count = clients.checked_mul(per_client).filter(|&count| count <= cards.len()).ok_or_else(|| {
        Error::new("partition", "there are more shards than samples")
            .with("clients", clients)
            .with("shards per client", per_client)
            .with("samples", cards.len())
    })?;
    cards.sort_by_key(|card| card.class); // stable: within a class the order stays random
    let draw = Philox::new(seed, 0, Stream::named("federated.shards"));
    let mut shards: Vec<(u32, Vec<usize>)> =
        cut(&cards, count).into_iter().enumerate().map(|(at, shard)| (draw.bits(0, at), shard)).collect();
    shards.sort_by_key(|&(key, _)| key);
    let shards: Vec<Vec<usize>> = shards.into_iter().map(|(_, shard)| shard).collect();
    Ok(shards.chunks(per_client).map(<[Vec<usize>]>::concat).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `count` one-pixel images, of classes in turn.
    fn data(count: usize, classes: usize) -> Dataset {
        let labels = (0..count).map(|at| i32::try_from(at % classes).unwrap()).collect();
        let names = (0..classes).map(|class| class.to_string()).collect();
        Dataset::new("test", [1, 1, 1], vec![0; count], labels, names).unwrap()
    }

    /// How many samples of each class a client has.
    fn histogram(data: &Dataset, hand: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; data.classes().len()];
        for &at in hand {
            counts[usize::try_from(data.label(at).unwrap()).unwrap()] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn every_sample_goes_to_one_client(
            count in 1_usize..200, classes in 1_usize..12, clients in 1_usize..12, seed: u64,
            alpha in prop_oneof![Just(0.01), Just(0.5), Just(100.0)], per_client in 1_usize..4,
        ) {
            let data = data(count, classes);
            for partition in [Partition::Iid, Partition::Dirichlet { alpha }, Partition::Shards { per_client }] {
                let Ok(hands) = partition.deal(&data, clients, seed) else {
                    let too_many = clients * per_client > count;
                    prop_assert!(too_many && matches!(partition, Partition::Shards { .. }), "{}", partition);
                    continue;
                };
                prop_assert_eq!(hands.len(), clients);
                prop_assert!(hands.iter().all(|hand| hand.is_sorted()));
                let mut all = hands.concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..count).collect::<Vec<_>>(), "{}", partition);
                if let Partition::Iid = partition {
                    let sizes = hands.iter().map(Vec::len);
                    prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
                }
                prop_assert_eq!(&partition.deal(&data, clients, seed).unwrap(), &hands);
            }
        }

        #[test]
        fn a_name_reads_back(alpha in 1e-3_f64..1e3, per_client in 1_usize..9) {
            for partition in [Partition::Iid, Partition::Dirichlet { alpha }, Partition::Shards { per_client }] {
                prop_assert_eq!(partition.to_string().parse::<Partition>().unwrap(), partition);
            }
        }
    }

    #[test]
    fn a_large_alpha_approaches_equal_shares_and_a_small_one_single_classes() {
        let data = data(4000, 4);
        let spread = |alpha| {
            let hands = Partition::Dirichlet { alpha }.deal(&data, 5, 3).unwrap();
            let counts = hands.iter().flat_map(|hand| histogram(&data, hand));
            counts.map(|count| count.abs_diff(200)).max().unwrap()
        };
        let spreads = [1e8, 1e3, 1.0, 0.01].map(spread);
        assert!(spreads[0] <= 1 && spreads.is_sorted() && spreads[3] > 700, "{spreads:?}");
    }

    #[test]
    fn shares_have_the_mean_and_the_variance_of_the_distribution() {
        let (clients, alpha, draws) = (4, 0.7, 4000);
        let firsts: Vec<f64> = (0..draws).map(|class| shares(class, clients, alpha, 9)[1]).collect();
        let mean = firsts.iter().sum::<f64>() / 4000.0;
        let variance = firsts.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 4000.0;
        let expected = 0.25 * 0.75 / (4.0 * alpha + 1.0);
        assert!((mean - 0.25).abs() < 0.02 && (variance / expected - 1.0).abs() < 0.1, "{mean} {variance} {expected}");
    }

    #[test]
    fn clients_with_two_shards_have_at_most_two_classes() {
        let data = data(1000, 10);
        let hands = Partition::Shards { per_client: 2 }.deal(&data, 10, 1).unwrap();
        let classes = hands.iter().map(|hand| histogram(&data, hand).iter().filter(|&&count| count > 0).count());
        let classes: Vec<usize> = classes.collect();
        assert!(classes.iter().all(|&count| count <= 2) && classes.contains(&2), "{classes:?}");
        assert_ne!(hands, Partition::Shards { per_client: 2 }.deal(&data, 10, 2).unwrap());
    }

    #[test]
    fn what_can_not_be_dealt_is_refused() {
        let data = data(10, 2);
        for bad in
            ["", "iid:1", "dirichlet", "dirichlet:0", "dirichlet:inf", "dirichlet:x", "shards:0", "shards", "dir:1"]
        {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
        assert!(Partition::Iid.deal(&data, 0, 0).unwrap_err().to_string().contains("--clients"));
        let error = Partition::Shards { per_client: 4 }.deal(&data, 3, 0).unwrap_err().to_string();
        assert!(error.contains("more shards than samples") && error.contains("10"), "{error}");
    }
}
