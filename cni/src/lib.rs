//! The CNI specification: types of every version, conversions, error codes, configuration, environment contract.
