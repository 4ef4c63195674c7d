use super::device::Device;
use super::precision::Precision;
use crate::batch::Example;
use crate::engine::{Engine, EngineSpec, OptimizerState, Predictions, StepLoss};
use crate::model::ParameterSet;
use crate::store::Tracks;
use anyhow::Result;
pub struct CudaEngine<D> {
    #[allow(dead_code)]
    device: D,
}
impl<D: Device> CudaEngine<D> {
    pub fn new(device: D, _p: Precision, _s: EngineSpec, _t: Tracks) -> Result<Self> {
        Ok(Self { device })
    }
}
impl<D: Device> Engine for CudaEngine<D> {
    fn train_step(&mut self, _plan: &[Example]) -> Result<StepLoss> {
        todo!()
    }
    fn evaluate(&mut self, _plan: &[Example]) -> Result<StepLoss> {
        todo!()
    }
    fn predict(&mut self, _plan: &[Example], _out: &mut Predictions) -> Result<()> {
        todo!()
    }
    fn parameters(&mut self) -> Result<ParameterSet> {
        todo!()
    }
    fn set_parameters(&mut self, _p: &ParameterSet) -> Result<()> {
        todo!()
    }
    fn optimizer_state(&mut self) -> Result<OptimizerState> {
        todo!()
    }
    fn restore_optimizer(&mut self, _s: &OptimizerState) -> Result<()> {
        todo!()
    }
    fn describe(&self) -> String {
        todo!()
    }
}
