using Xunit.Sdk;
using Xunit.v3;

// Each test runs whole servers; two cores serve one of them at a time.
[assembly: Parallelization(Mode = ParallelMode.None)]
