import Primitives

// Model-based tests: a container and a plain reference go through the same random operations and are compared after each.
// A run that fails is cut down to the few operations that still fail, and names the seed that repeats it.

/// A container beside its reference, and the operations that both go through.
package protocol ModelTest {
    /// Its description is what a failure prints: enough to write the sequence down as a test of its own.
    associatedtype Operation

    /// An empty container and an empty reference. What differs from run to run (a capacity, how many keys there are) is
    /// drawn here, and stays while a failure is cut down.
    init(_ random: inout SeededRandom)

    /// The next operation. It depends on nothing that earlier ones did, so that any of them can be left out: an operation
    /// that needs something present says "the third of those" and counts modulo their number.
    func draw(_ random: inout SeededRandom) -> Operation

    /// Lets both do it, and throws a `Mismatch` when what they return, or what they hold now, is not the same.
    mutating func apply(_ operation: Operation) throws
}

/// In what a container and its reference differ.
package struct Mismatch: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Throws a `Mismatch` unless both are the same.
package func same<Value: Equatable>(_ found: Value, _ expected: Value, _ what: @autoclosure () -> String)
    throws
{
    if found != expected { throw Mismatch("\(what()): \(found), expected \(expected)") }
}

/// Throws a `Mismatch` unless `condition` holds.
package func holds(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw Mismatch(what()) }
}

/// A failed run: what was wrong, and the fewest operations that were found to cause it.
package struct ModelFailure: Error, CustomStringConvertible {
    package let seed: UInt64
    package let mismatch: String
    package let operations: [String]
    /// How many operations the failure took before it was cut down.
    package let steps: Int

    package var description: String {
        "seed \(seed), step \(steps): \(mismatch)\nafter these operations, cut down from \(steps):\n  "
            + operations.joined(separator: "\n  ")
    }
}

/// What most model-based tests run with.
package let modelSeeds: [UInt64] = [1, 2, 3, 4]

/// Takes `steps` random operations, all drawn from `seed`; throws a `ModelFailure` when the container and its reference
/// part.
package func check<Model: ModelTest>(_: Model.Type, seed: UInt64, steps: Int = 2_000) throws {
    func start() -> (Model, SeededRandom) {
        var random = SeededRandom(seed: seed)
        return (Model(&random), random)
    }
    /// The place of the operation that fails, and how; nil when none does.
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

/// Leaves out ever shorter stretches as long as what remains still fails (Zeller and Hildebrandt, "Simplifying and
/// isolating failure-inducing input", 2002). Bounded: a failure is worth a second, not a minute.
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
