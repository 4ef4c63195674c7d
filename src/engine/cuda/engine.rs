//! The engine: weights resident, packs where there is a genome, a plan uploaded whole, one prepared schedule run over it.

use anyhow::Result;

use super::arena::{Arena, Slot};
use super::device::Device;
use super::explain::Explainer;
use super::ops::step::StepState;
use super::precision::Precision;
use super::resident::Resident;
use super::session::Session;
use super::step::Kind;
use super::weights::Weights;
use crate::batch::Example;
use crate::engine::checks;
use crate::engine::{Contributions, Engine, Explain, Predict, Predictions, ToExplain};
use crate::model::{Architecture, Branches};
use crate::store::Tracks;

/// Sequences that `predict_sequences` runs at once.
const MOST_SEQUENCES: usize = 64;
/// The code of no base.
const N: u8 = 4;

/// The engine on one device.
pub struct CudaEngine<D: Device> {
    /// Dropped first, which ends all work: others may hold the packs, or nobody.
    pub(super) device: D,
    pub(super) precision: Precision,
    pub(super) main: Architecture,
    pub(super) bias: Option<Architecture>,
    pub(super) tracks: Option<Tracks>,
    pub(super) resident: Option<Resident>,
    /// Weights, and the state of a run of steps.
    pub(super) arena: Arena,
    pub(super) state_at: Slot,
    pub(super) main_weights: Weights,
    pub(super) bias_weights: Option<Weights>,
    /// The state as the last fetch found it; between runs that of the device.
    pub(super) state: StepState,
    pub(super) session: Option<Session>,
    pub(super) explainer: Option<Explainer>,
}

impl<D: Device> CudaEngine<D> {
    /// For windows where there are `tracks`, or sequences alone.
    ///
    /// Errors when a network's tensors do not fit its shape or hold NaN, when the two branches have
    /// different lengths, and when the device has no room for packs and weights.
    pub fn new(
        mut device: D,
        precision: Precision,
        branches: impl Into<Branches>,
        tracks: impl Into<Option<Tracks>>,
    ) -> Result<Self> {
        let Branches { main, bias } = checks::checked(branches.into())?;
        let tracks = tracks.into();
        let resident =
            tracks.as_ref().map(|tracks| Resident::open(tracks, &mut device)).transpose()?;
        let mut arena = Arena::default();
        let state_at = arena.plan::<StepState>("step state", 1);
        let main_weights = Weights::plan(&main.arch, precision, "main", &mut arena);
        let bias_weights =
            bias.as_ref().map(|b| Weights::plan(&b.arch, precision, "bias", &mut arena));
        arena.allocate(&mut device)?;

        main_weights.upload(&arena, &main.parameters, &mut device)?;
        if let (Some(weights), Some(bias)) = (&bias_weights, &bias) {
            weights.upload(&arena, &bias.parameters, &mut device)?;
        }
        Ok(Self {
            precision,
            main: main.arch,
            bias: bias.map(|b| b.arch),
            tracks,
            resident,
            state_at,
            main_weights,
            bias_weights,
            state: StepState::new(0.0, 1, precision.scales_loss()),
            session: None,
            explainer: None,
            arena,
            device,
        })
    }

    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Device, kernels, precision and memory, for the log.
    pub(super) fn line(&self, bytes: Option<u64>) -> String {
        let mib = bytes.unwrap_or(0).div_ceil(1 << 20);
        let (device, core) = (self.device.describe(), self.device.core().name());
        format!("{device}, {core} core, {}, {mib} MiB", self.precision)
    }

    /// All device memory of this engine.
    pub(super) fn arenas(&self) -> impl Iterator<Item = &Arena> {
        let packs = self.resident.iter().flat_map(Resident::arenas);
        let session = self.session.as_ref().map(|s| [&s.workspace.arena, &s.arena]);
        let explainer = self.explainer.as_ref().map(Explainer::plan);
        packs.chain([&self.arena]).chain(session.into_iter().flatten()).chain(explainer)
    }
}

impl<D: Device> Engine for CudaEngine<D> {
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        let inputlen = self.main.inputlen;
        let n = checks::check_codes("sequences", codes, inputlen)?;
        let mut done = 0;
        while done < n {
            let rows = MOST_SEQUENCES.min(n - done);
            let schedule = self.prepare(Kind::PredictCodes, rows, rows, false, None)?;
            let session = self.session.as_ref().expect("prepared above");
            // Rows beyond the last sequence are N, as `batch.cu` leaves them.
            let mut batch = codes[done * inputlen..][..rows * inputlen].to_vec();
            batch.resize(session.workspace.batch * inputlen, N);
            self.device.upload(session.workspace.arena[session.workspace.codes], &batch)?;
            self.begin_rows(rows, rows)?;
            self.device.run(&schedule)?;
            self.fetch_outputs(rows, out, |row| format!("sequence {}", done + row + 1))?;
            done += rows;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> Option<u64> {
        Some(self.arenas().map(Arena::bytes).sum::<usize>() as u64)
    }

    fn memory_plan(&self) -> Option<String> {
        Some(self.arenas().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn describe(&self) -> String {
        self.line(self.memory_bytes())
    }
}

impl<D: Device> Predict for CudaEngine<D> {
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        let tracks = checks::genome(&self.tracks)?.clone();
        checks::check_plan(&tracks, plan, false)?;
        let schedule = self.begin(Kind::Predict, plan, plan.len(), None)?;
        self.device.run(&schedule)?;
        let inputlen = self.main.inputlen;
        self.fetch_outputs(plan.len(), out, |row| checks::place(&tracks, &plan[row], inputlen))
    }
}

impl<D: Device> Explain for CudaEngine<D> {
    fn contributions(&mut self, of: &ToExplain, out: &mut Contributions) -> Result<()> {
        checks::check_explained(self.bias.is_some())?;
        self.explain(of, out)
    }
}
