//! What `qc` and `bias qc` looked at, and with what: `logs/qc.run.json`, for the report.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::qc::QcInputs;
use super::subject::Kind;
use crate::cli;
use crate::engine::Device;
use crate::pack::cache;
use crate::train::output::OutputTree;
use crate::train::record::{QC_RECORD, RunRecord};

pub struct Look {
    record: RunRecord,
    data_type: String,
}

impl Look {
    /// Takes the fingerprints of models and data.
    pub fn new(
        kind: Kind,
        model: &Path,
        explained: &Path,
        args: &QcInputs,
        device: &Device,
    ) -> Result<Self> {
        let models: &[(&str, &Path)] = match kind {
            Kind::Bias => &[("bias_model", model)],
            Kind::Chrombpnet => &[("chrombpnet_model", model), ("chrombpnet_model_nb", explained)],
        };
        let data: [(&str, &Path); 6] = [
            ("genome", &args.genome),
            ("signal", &args.bigwig),
            ("chrom_sizes", &args.chrom_sizes),
            ("peaks", &args.peaks),
            ("nonpeaks", &args.nonpeaks),
            ("chr_fold_path", &args.chr_fold_path),
        ];
        let mut inputs = BTreeMap::new();
        for (role, path) in models.iter().chain(&data) {
            inputs.insert(role.to_string(), cache::fingerprint_in(path, &args.cache.cache_dir)?);
        }
        let settings = [
            ("model", json!(kind.evaluated())),
            ("data_type", json!(args.data_type.to_string())),
            ("batch_size", json!(args.batch_size)),
            ("num_interpret", json!(args.explain.num_interpret)),
            // Whole, so that `report` finds it from any folder.
            ("bigwig", json!(std::path::absolute(&args.bigwig)?.to_string_lossy())),
        ];
        let record = RunRecord {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line: cli::command_line(),
            settings: settings.map(|(name, value)| (name.to_string(), value)).into(),
            inputs,
            complete: false,
            outcome: json!({ "engine": device.to_string() }),
            left: BTreeMap::new(),
        };
        Ok(Self { record, data_type: args.data_type.to_string() })
    }

    /// Hash of models and data, for `Subject::key`.
    pub fn key(&self) -> String {
        let hashes: Vec<&str> = self.record.inputs.values().map(|f| f.xxh3.as_str()).collect();
        format!("{} {}", hashes.join(" "), self.data_type)
    }

    /// Leaves the record, or goes on with one of the same settings and inputs: a rerun that finds
    /// everything done must not put its own device and command in the place of those that did it.
    pub fn begin(&mut self, tree: &OutputTree, force: bool) -> Result<()> {
        let path = tree.logs(QC_RECORD);
        match RunRecord::read(&path).ok().flatten() {
            Some(earlier) if !force && earlier.changes(&self.record).is_empty() => {
                self.record = earlier;
                Ok(())
            }
            _ => self.record.write(&path),
        }
    }

    /// All is on disk.
    pub fn complete(mut self, tree: &OutputTree) -> Result<()> {
        self.record.complete = true;
        self.record.write(&tree.logs(QC_RECORD))
    }
}
