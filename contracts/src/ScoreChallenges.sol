// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {ScoreRounds} from "./ScoreRounds.sol";

/**
 * @title Challenges of agreed verdicts, the admin's last word, and the bonds.
 * @notice A challenge opens the next round; in the last one it puts the verdict before the admin. Nobody can hold a
 * verdict up for ever: each challenge costs a bond, there are `roundsMax` of them, and a dispute that the admin does
 * not resolve within `roundWindow` ends with the verdict that was agreed.
 */
abstract contract ScoreChallenges is ScoreRounds {
    struct Challenge {
        address challenger;
        bytes32 verdict;
    }

    /// @notice What a challenge costs, in wei; zero where verdicts cannot be challenged.
    uint256 public immutable bond;

    /// @notice Who is credited with the bonds of challenges that did not change the verdict.
    address public immutable bondReceiver;

    /// @notice What an account may {withdraw}, in wei.
    mapping(address account => uint256) public credits;

    mapping(uint256 proposalId => mapping(uint32 round => Challenge)) private _challenges;

    event ScoreChallenged(uint256 indexed proposalId, uint32 round, address indexed challenger, uint256 bond);
    event ScoreResolved(uint256 indexed proposalId, address admin, uint8 status, int32 score, bytes32 root);
    event BondReturned(uint256 indexed proposalId, uint32 round, address indexed challenger, uint256 bond);
    event BondForfeited(uint256 indexed proposalId, uint32 round, address indexed challenger, uint256 bond);
    event Withdrawn(address indexed account, uint256 amount);

    error UnsupportedChallengeWindow(uint48 challengeWindow, uint256 bond, address bondReceiver);
    error WrongBond(uint256 given, uint256 bond);
    error NotAgreed(uint256 proposalId);
    error ChallengeWindowOpen(uint256 proposalId, uint48 until);
    error ChallengeWindowOver(uint256 proposalId, uint48 until);
    error NotResolvable(uint256 proposalId);
    error NotCanceled(uint256 proposalId);
    error NothingToWithdraw(address account);

    constructor(Rules memory rules_) {
        bool challengeable = challengeWindow > 0;
        bool priced = challengeable == (rules_.bond > 0) && challengeable == (rules_.bondReceiver != address(0));
        if (!priced || challengeWindow > WINDOW_LIMIT) {
            revert UnsupportedChallengeWindow(challengeWindow, rules_.bond, rules_.bondReceiver);
        }
        bond = rules_.bond;
        bondReceiver = rules_.bondReceiver;
    }

    /**
     * @notice Challenges an agreed verdict within its window, with exactly the bond: the next round opens, or in the
     * last one the admin is asked. A pause does not stop challenges.
     */
    function challenge(uint256 proposalId) external payable {
        Agreement memory agreed = _agreements[proposalId];
        if (agreed.stage != Stage.Agreed) revert NotAgreed(proposalId);
        uint48 until = agreed.reachedAt + challengeWindow;
        if (Time.timestamp() >= until) revert ChallengeWindowOver(proposalId, until);
        if (msg.value != bond) revert WrongBond(msg.value, bond);
        bytes32 verdict = _hashOf(_records[proposalId][agreed.round][agreed.scorer]);
        _challenges[proposalId][agreed.round] = Challenge(msg.sender, verdict);
        emit ScoreChallenged(proposalId, agreed.round, msg.sender, msg.value);
        if (agreed.round < roundsMax) {
            delete _agreements[proposalId];
            _open(proposalId, agreed.round + 1);
        } else {
            agreed.stage = Stage.Disputed;
            agreed.reachedAt = Time.timestamp();
            _agreements[proposalId] = agreed;
        }
    }

    /**
     * @notice Makes an agreed verdict final whose window has passed, or a disputed one that the admin did not resolve
     * in time. Anybody may.
     */
    function finalize(uint256 proposalId) external whenNotPaused {
        Agreement memory agreed = _agreements[proposalId];
        if (agreed.stage != Stage.Agreed && agreed.stage != Stage.Disputed) revert NotAgreed(proposalId);
        uint48 until = _settledAt(agreed);
        if (Time.timestamp() < until) revert ChallengeWindowOpen(proposalId, until);
        _finish(proposalId, agreed.scorer, agreed.round);
    }

    /**
     * @notice Gives the verdict where the rounds are used up: the last one timed out without an agreement, or its
     * verdict was challenged. It counts as the verdict of the round after the last.
     */
    function resolve(
        uint256 proposalId,
        uint8 status,
        int32 score,
        bytes32 root
    ) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _refuse(_misstated(status, score, root));
        _checkEnded(proposalId);
        if (!_isResolvable(proposalId)) revert NotResolvable(proposalId);
        uint32 round = roundsMax + 1;
        _write(_records[proposalId][round][msg.sender], status, score, root);
        emit ScoreResolved(proposalId, msg.sender, status, score, root);
        _finish(proposalId, msg.sender, round);
    }

    /// @notice Returns the bonds of a proposal that was canceled before its rounds came to an end.
    function returnBonds(uint256 proposalId) external {
        bool canceled = dao.state(proposalId) == uint8(IGovernor.ProposalState.Canceled);
        if (!canceled || _agreements[proposalId].stage != Stage.Open) revert NotCanceled(proposalId);
        _settleBonds(proposalId, bytes32(0));
    }

    /// @notice Pays an account what it is credited with. Anybody may call it for anybody.
    function withdraw(address payable account) external {
        uint256 amount = credits[account];
        if (amount == 0) revert NothingToWithdraw(account);
        credits[account] = 0;
        emit Withdrawn(account, amount);
        Address.sendValue(account, amount);
    }

    /// @notice Who challenged the verdict of a round, and that verdict's hash; zeros if nobody did.
    function challengeOf(
        uint256 proposalId,
        uint32 round
    ) external view returns (address challenger, bytes32 verdict) {
        Challenge storage found = _challenges[proposalId][round];
        return (found.challenger, found.verdict);
    }

    /// @dev When an agreement that nobody touches any more may become final.
    function _settledAt(Agreement memory agreed) internal view returns (uint48) {
        return agreed.reachedAt + (agreed.stage == Stage.Disputed ? roundWindow : challengeWindow);
    }

    function _isResolvable(uint256 proposalId) private view returns (bool) {
        Stage stage = _agreements[proposalId].stage;
        if (stage != Stage.Open) return stage == Stage.Disputed;
        Round memory current = _rounds[proposalId];
        return current.number == roundsMax && Time.timestamp() >= current.startedAt + roundWindow;
    }

    function _finish(uint256 proposalId, address scorer, uint32 round) private {
        _agreements[proposalId] = Agreement(scorer, round, Time.timestamp(), Stage.Final);
        Record storage verdict = _records[proposalId][round][scorer];
        emit ScoreFinalized(proposalId, round, verdict.status, verdict.score, verdict.root);
        _settleBonds(proposalId, _hashOf(verdict));
    }

    /// @dev Credits each bond to its challenger, or to the receiver if the verdict stands; zero is no verdict's hash.
    function _settleBonds(uint256 proposalId, bytes32 verdict) private {
        for (uint32 round = FIRST_ROUND; round <= roundsMax; ++round) {
            Challenge memory challenged = _challenges[proposalId][round];
            if (challenged.challenger == address(0)) continue;
            delete _challenges[proposalId][round];
            if (challenged.verdict == verdict) {
                credits[bondReceiver] += bond;
                emit BondForfeited(proposalId, round, challenged.challenger, bond);
            } else {
                credits[challenged.challenger] += bond;
                emit BondReturned(proposalId, round, challenged.challenger, bond);
            }
        }
    }
}
