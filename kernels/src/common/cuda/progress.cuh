// The columns that the row of a sample under attack has in every attack, and its status: kernels/src/common/progress.rs.
#pragma once

constexpr int EPS = 0, STATUS = 1, STEPS = 2;
constexpr float RUNNING = 1.0f, FOOLED = 2.0f, SPENT = 3.0f;
