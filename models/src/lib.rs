//! Vitrum: models.
