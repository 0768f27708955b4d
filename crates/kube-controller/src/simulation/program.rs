//! What a simulation plays: the user's controllers, scenario and invariants.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;

use super::state::{Ignore, State};
use super::world::World;
use crate::controller::Controller;
use crate::operator::Operator;

/// What the operator runs.
pub(crate) type Controllers = Box<dyn Fn(&Operator) -> Vec<Controller>>;

/// What must hold after each write.
pub(crate) type Invariant = Arc<dyn Fn(&State) -> Result<(), String> + Send + Sync>;

/// What users do.
pub(crate) type Scenario = Arc<dyn Fn(Client) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is played.
pub(crate) struct Program {
    pub(crate) controllers: Controllers,
    pub(crate) definitions: Vec<CustomResourceDefinition>,
    pub(crate) scenario: Scenario,
    pub(crate) world: World,
    pub(crate) invariants: Vec<(String, Invariant)>,
    pub(crate) ignore: Vec<Ignore>,
    pub(crate) elects: bool,
}
