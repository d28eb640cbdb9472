//! Flags for data that show some of a model's classes.

use std::path::PathBuf;

use engine::Result;
use models::VitConfig;
use train::data::Dataset;
use train::eval::classes::{ClassMap, read_names};

use super::args::DataArgs;

#[derive(clap::Args)]
#[command(next_help_heading = "Classes")]
pub struct ClassArgs {
    /// Names of the model's classes in order, a line each, or a folder whose subfolders are named so, such as ImageNet's val/:
    /// predictions are then made among the data's classes only, as for ImageNet-A and ImageNet-R
    #[arg(long, value_name = "FILE")]
    class_order: Option<PathBuf>,
    /// The classes that predictions are made among, a line each: names in --class-order, or indices of the model's classes
    #[arg(long, value_name = "FILE")]
    class_subset: Option<PathBuf>,
}

impl ClassArgs {
    /// Images of the model's shape, and where their classes stand in its head if that is asked for.
    pub fn open(&self, data: &DataArgs, config: &VitConfig, seed: u64) -> Result<(Dataset, Option<ClassMap>)> {
        if self.class_order.is_none() && self.class_subset.is_none() {
            return Ok((data.open(config, seed)?, None));
        }
        let order = self.class_order.as_deref().map(read_names).transpose()?;
        let subset = self.class_subset.as_deref().map(read_names).transpose()?;
        let dataset = data.open_any(config, seed)?;
        let map = ClassMap::new(dataset.classes(), config.classes, order.as_deref(), subset.as_deref())?;
        Ok((dataset, Some(map)))
    }
}
