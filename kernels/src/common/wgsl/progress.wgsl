// The columns that the row of a sample under attack has in every attack, and its status: kernels/src/common/progress.rs.
const EPS = 0u;
const STATUS = 1u;
const STEPS = 2u;
const RUNNING = 1.0;
const FOOLED = 2.0;
const SPENT = 3.0;
