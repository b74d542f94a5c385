// What the programs' exit statuses mean; documented in docs/reference/cli.md.
#pragma once

namespace sepal::agent {

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,
  kExitDifference = 2,  // plan: the kernel differs; lint: there are findings
  kExitInvalid = 3,     // the configuration has faults; nothing was changed
  kExitRefused = 4,     // applied, but the kernel refused some rules
  kExitLocked = 5,      // another writer is at work, or a daemon stands in the way
  kExitSoftware = 6,    // what should be in hardware is not: it works, in software
  kExitUnfit = 7,       // doctor: something the configuration asks for does not work
  kExitUsage = 64,      // EX_USAGE
};

}  // namespace sepal::agent
