/// The only source of randomness in the core: a ChaCha12 generator (Bernstein, 2008), seeded by the shell
/// from the operating system or by a simulation from its seed. Concrete, because a generic generator that
/// crosses a module makes a draw a hundred times more expensive.
///
/// Not for keys: key material takes entropy as bytes from the shell.
public struct SeededRandom: Sendable {
    private var key: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
    private var counter: UInt64 = 0
    private var block: InlineArray<8, UInt64> = .init(repeating: 0)
    private var used = 8

    public init(seed: Bytes32) {
        func halves(_ w: UInt64) -> (UInt32, UInt32) {
            (UInt32(truncatingIfNeeded: w >> 32), UInt32(truncatingIfNeeded: w))
        }
        let (a, b) = halves(seed.w0)
        let (c, d) = halves(seed.w1)
        let (e, f) = halves(seed.w2)
        let (g, h) = halves(seed.w3)
        key = (a, b, c, d, e, f, g, h)
    }

    public init(seed: UInt64) { self.init(seed: Bytes32(seed, 0, 0, 0)) }

    public mutating func next() -> UInt64 {
        if used == 8 { refill() }
        used += 1
        return block[used - 1]
    }

    /// Uniform in 0..<bound, without bias (Lemire, 2019). `bound` must be positive.
    public mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "below needs a positive bound, has \(bound)")
        let limit = UInt64(bound)
        var product = next().multipliedFullWidth(by: limit)
        if product.low < limit {
            let threshold = (0 &- limit) % limit
            while product.low < threshold { product = next().multipliedFullWidth(by: limit) }
        }
        return Int(product.high)
    }

    /// True with probability `numerator / denominator`.
    public mutating func chance(_ numerator: Int, in denominator: Int) -> Bool {
        below(denominator) < numerator
    }

    /// Uniform in `low...high`; `low` when the range is empty.
    public mutating func interval(_ low: Interval, _ high: Interval) -> Interval {
        let span = high.nanoseconds - low.nanoseconds
        return span <= 0 ? low : Interval(nanoseconds: low.nanoseconds + Int64(below(Int(span) + 1)))
    }

    public mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word = next()
            for shift in stride(from: UInt64(0), to: 64, by: 8) where bytes.count < count {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return bytes
    }

    public mutating func bytes32() -> Bytes32 { Bytes32(next(), next(), next(), next()) }

    /// Fisher–Yates.
    public mutating func shuffle<Element>(_ array: inout [Element]) {
        var index = array.count - 1
        while index > 0 {
            array.swapAt(index, below(index + 1))
            index -= 1
        }
    }

    /// Up to `count` different elements in random order.
    public mutating func sample<Element>(_ count: Int, of array: [Element]) -> [Element] {
        var pool = array
        let take = min(count, pool.count)
        for index in 0..<take { pool.swapAt(index, index + below(pool.count - index)) }
        return Array(pool.prefix(take))
    }

    private mutating func refill() {
        typealias Vector = SIMD4<UInt32>
        @inline(__always) func rotate(_ v: Vector, _ n: UInt32) -> Vector { v &<< n | v &>> (32 - n) }
        @inline(__always) func quarter(
            _ a: inout Vector, _ b: inout Vector, _ c: inout Vector, _ d: inout Vector
        ) {
            a = a &+ b
            d = rotate(d ^ a, 16)
            c = c &+ d
            b = rotate(b ^ c, 12)
            a = a &+ b
            d = rotate(d ^ a, 8)
            c = c &+ d
            b = rotate(b ^ c, 7)
        }
        let constants = Vector(0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574)
        let first = Vector(key.0, key.1, key.2, key.3)
        let second = Vector(key.4, key.5, key.6, key.7)
        let position = Vector(
            UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32), 0, 0)
        var (a, b, c, d) = (constants, first, second, position)
        for _ in 0..<6 {
            quarter(&a, &b, &c, &d)
            b = Vector(b[1], b[2], b[3], b[0])
            c = Vector(c[2], c[3], c[0], c[1])
            d = Vector(d[3], d[0], d[1], d[2])
            quarter(&a, &b, &c, &d)
            b = Vector(b[3], b[0], b[1], b[2])
            c = Vector(c[2], c[3], c[0], c[1])
            d = Vector(d[1], d[2], d[3], d[0])
        }
        a = a &+ constants
        b = b &+ first
        c = c &+ second
        d = d &+ position
        for (index, row) in [a, b, c, d].enumerated() {
            block[index * 2] = UInt64(row[1]) << 32 | UInt64(row[0])
            block[index * 2 + 1] = UInt64(row[3]) << 32 | UInt64(row[2])
        }
        counter &+= 1
        used = 0
    }
}
