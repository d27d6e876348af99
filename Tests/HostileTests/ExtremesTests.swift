import FuzzEntries
import Testing

/// Case 1: what the decoder lets through, with each number of each message at its ends, changes the state of a whole
/// node; then its clock runs on, because it is the timer set by such a number that breaks.
@Suite struct ExtremesTests {
    @Test(arguments: 0..<Amplification.kinds)
    func case1EveryNumberOfEveryMessageMayBeZeroMaxMaxMinusOneOrTheSignBitThenAndADayLater(_ kind: Int) {
        Extremes.play(kind: UInt8(kind))
    }
}
