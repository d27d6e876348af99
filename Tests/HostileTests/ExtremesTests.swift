import FuzzEntries
import Testing

/// Case 1: messages that the decoder accepts, with each number at its extremes, change the state of a whole
/// node. Then its clock runs on, because it is the timer set by such a number that breaks.
@Suite struct ExtremesTests {
    @Test(arguments: 0..<Amplification.kinds)
    func case1EveryNumberOfEveryMessageMayBeZeroMaxMaxMinusOneOrTheSignBitThenAndADayLater(_ kind: Int) {
        Extremes.play(kind: UInt8(kind))
    }
}
