/// An immutable value, held once and referred to by all that need it, such as a machine's parameters: neither
/// its size nor the cost of copying it is multiplied.
public final class Shared<Value: Sendable>: Sendable {
    public let value: Value

    @inlinable
    public init(_ value: Value) { self.value = value }
}
