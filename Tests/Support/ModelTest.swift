import Primitives

// Model-based tests: a container and a plain reference go through the same random operations and are compared
// after each. A failing run is shrunk to the few operations that still fail, and reports the seed that
// repeats it.

/// A container, its reference, and the operations that both execute.
package protocol ModelTest {
    /// A failure prints its description: enough to write the sequence as a separate test.
    associatedtype Operation

    /// An empty container and an empty reference. What varies between runs (a capacity, the number of keys)
    /// is drawn here and stays fixed while a failure is shrunk.
    init(_ random: inout SeededRandom)

    /// The next operation. It must not depend on earlier ones, so that any of them can be left out: an
    /// operation that needs an existing element takes an index modulo their number.
    func draw(_ random: inout SeededRandom) -> Operation

    /// Executes the operation on both, and throws a `Mismatch` if their results or their contents differ.
    mutating func apply(_ operation: Operation) throws
}

/// The difference between a container and its reference.
package struct Mismatch: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Throws a `Mismatch` unless both are equal.
package func same<Value: Equatable>(_ found: Value, _ expected: Value, _ what: @autoclosure () -> String)
    throws
{
    if found != expected { throw Mismatch("\(what()): \(found), expected \(expected)") }
}

/// Throws a `Mismatch` unless `condition` holds.
package func holds(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw Mismatch(what()) }
}

/// A failed run: the difference, and the fewest operations found to cause it.
package struct ModelFailure: Error, CustomStringConvertible {
    package let seed: UInt64
    package let mismatch: String
    package let operations: [String]
    /// The number of operations before shrinking.
    package let steps: Int

    package var description: String {
        "seed \(seed), step \(steps): \(mismatch)\nafter these operations, cut down from \(steps):\n  "
            + operations.joined(separator: "\n  ")
    }
}

/// The seeds of most model-based tests.
package let modelSeeds: [UInt64] = [1, 2, 3, 4]

/// Executes `steps` random operations drawn from `seed`; throws a `ModelFailure` if the container and its
/// reference differ.
package func check<Model: ModelTest>(_: Model.Type, seed: UInt64, steps: Int = 2_000) throws {
    func start() -> (Model, SeededRandom) {
        var random = SeededRandom(seed: seed)
        return (Model(&random), random)
    }
    /// The index of the operation that fails, and the difference; nil if none does.
    func failure(of operations: [Model.Operation]) -> (index: Int, mismatch: String)? {
        var (model, _) = start()
        for (index, operation) in operations.enumerated() {
            do { try model.apply(operation) } catch { return (index, "\(error)") }
        }
        return nil
    }

    var (model, random) = start()
    var operations: [Model.Operation] = []
    for _ in 0..<steps {
        operations.append(model.draw(&random))
        do {
            try model.apply(operations[operations.count - 1])
        } catch {
            let (kept, mismatch) = shrink(operations, "\(error)", failure)
            throw ModelFailure(
                seed: seed, mismatch: mismatch, operations: kept.map { "\($0)" }, steps: operations.count)
        }
    }
}

/// Leaves out shorter and shorter stretches as long as the rest still fails (Zeller and Hildebrandt,
/// "Simplifying and isolating failure-inducing input", 2002). Bounded, so that shrinking takes a second, not
/// a minute.
private func shrink<Operation>(
    _ operations: [Operation], _ mismatch: String, _ failure: ([Operation]) -> (index: Int, mismatch: String)?
) -> (operations: [Operation], mismatch: String) {
    var kept = operations
    var mismatch = mismatch
    var triesLeft = 400
    var length = kept.count / 2
    while length > 0 {
        var shortened = false
        var start = 0
        while start < kept.count, triesLeft > 0 {
            var shorter = kept
            shorter.removeSubrange(start..<min(start + length, kept.count))
            triesLeft -= 1
            if let failed = failure(shorter) {
                kept = Array(shorter[...failed.index])
                mismatch = failed.mismatch
                shortened = true
            } else {
                start += length
            }
        }
        length = shortened && length == 1 ? 1 : length / 2
    }
    return (kept, mismatch)
}
