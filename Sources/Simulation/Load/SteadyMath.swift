/// Logarithm and exponential built only from IEEE 754's exactly rounded operations (+, −, ×, ÷). Those of
/// libm differ in the last bit between machines and versions, and one bit is enough to change the course of a
/// simulation.
enum SteadyMath {
    private static let ln2 = 0.693_147_180_559_945_3
    private static let squareRootOf2 = 1.414_213_562_373_095_1

    /// The natural logarithm of a positive, normal number. Relative error below 1e-14.
    static func ln(_ x: Double) -> Double {
        precondition(x.isNormal && x > 0, "ln(\(x))")
        // x = m · 2^e with m within √2 of 1; ln m = 2 · artanh((m − 1) ÷ (m + 1)), whose series ends quickly there.
        var (m, e) = (x.significand, Int(x.exponent))
        if m > squareRootOf2 {
            m /= 2
            e += 1
        }
        let s = (m - 1) / (m + 1)
        let square = s * s
        var sum = 0.0
        for odd in stride(from: 21, through: 1, by: -2) { sum = sum * square + 1 / Double(odd) }
        return 2 * s * sum + Double(e) * ln2
    }

    /// e to the power of `x`, for |x| ≤ 700. Relative error below 1e-13.
    static func exp(_ x: Double) -> Double {
        precondition(x.magnitude <= 700, "exp(\(x))")
        let n = (x / ln2).rounded()
        let rest = x - n * ln2
        // Taylor series from its last term backwards; |rest| ≤ ½ ln 2.
        var sum = 1.0
        for k in stride(from: 15, through: 1, by: -1) { sum = 1 + rest / Double(k) * sum }
        return Double(sign: .plus, exponent: Int(n), significand: sum)
    }
}
