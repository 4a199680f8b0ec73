use crate::*;
pub(crate) fn plan(_: &Call<'_>, _: &[cni::Ip], _: &mut dyn World, _: &mut Plan) {}
pub(crate) fn plan_del(_: &[cni::Ip], _: &mut Plan) {}
