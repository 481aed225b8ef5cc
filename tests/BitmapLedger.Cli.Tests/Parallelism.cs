using Xunit.Sdk;
using Xunit.v3;

// The console is one for the whole process.
[assembly: Parallelization(Mode = ParallelMode.None)]
