/// A value that never changes, held once and referred to by all who need it: what a machine is told at its start, so that
/// neither its size nor the cost of copying it counts for each of its parts.
public final class Shared<Value: Sendable>: Sendable {
    public let value: Value

    @inlinable
    public init(_ value: Value) { self.value = value }
}
