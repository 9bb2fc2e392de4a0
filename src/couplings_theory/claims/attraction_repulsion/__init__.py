"""Claims about contrastive attraction and contrastive repulsion."""

from couplings_theory.claim import Claim, Paper, Standing

from .information import entropies, information
from .limits import infonce_limit, query_dependent
from .pairs import attraction, simplex, weights

__all__ = ["CLAIMS"]

CLAIMS = (
    Claim(
        "attraction-repulsion/attraction",
        "Attraction is zero if and only if views coincide",
        "Attraction is at least the mean squared distance between views, whatever the hardness, so it is zero if and "
        "only if all views of each sample coincide; with one positive it is the mean squared distance. A debiased "
        "repulsion attracts positives too, by beta tau+ / (1 - tau+) for each unit of their mean squared distance.",
        Paper.CACR,
        Standing.DERIVED,
        attraction,
    ),
    Claim(
        "attraction-repulsion/simplex",
        "Repulsion is least on the simplex",
        "The repulsion of M unit rows is at least -2 M / (M - 1) for every hardness. Where hardness is above zero the "
        "regular simplex alone attains it, with equal weights; at hardness zero any rows around zero do.",
        Paper.CACR,
        Standing.DERIVED,
        simplex,
    ),
    Claim(
        "attraction-repulsion/weights",
        "Far positives and near negatives weigh most",
        "Weights of positives rise with their distance from the query, those of negatives fall; hardness zero weighs "
        "all alike, hardness without bound gives all weight to the farthest positive and the nearest negative, and the "
        "rest is at most (n - 1) exp(-hardness gap) of n pairs.",
        Paper.CACR,
        Standing.DERIVED,
        weights,
    ),
    Claim(
        "attraction-repulsion/information",
        "Where the simplex fits, least repulsion is least information",
        "No plan of M queries of equal mass without self pairs has less mutual information of query and negative than "
        "log(M / (M - 1)), and equal weights alone attain it (derived). Adam on the repulsion of 10 random points gets "
        "there from every seed where the simplex fits (d = 16), and does not where it cannot (d = 4); there, points "
        "that start close together gain information while repulsion falls (measured).",
        Paper.CACR,
        Standing.RESTATED,
        information,
    ),
    Claim(
        "attraction-repulsion/entropies",
        "Repulsion's weights even out in training, attraction's do not",
        "A small encoder is trained with t+ = 4 and t- = 2 on 32 images in four groups, 5 views each. The entropy of "
        "repulsion's weights rises after the first steps and they end on about 22 of 31 images in effect; that of "
        "attraction's dips at once and ends below its start. Trained with equal weights, each group collapses: the "
        "same repulsion weights end on about 10 images (means over seeds).",
        Paper.CACR,
        Standing.MEASURED,
        entropies,
    ),
    Claim(
        "attraction-repulsion/infonce-limit",
        "InfoNCE in terms of attraction and repulsion",
        "The gradient of decoupled InfoNCE is that of attraction plus repulsion with constant weights, at "
        "t- = 1 / (2 tau). InfoNCE with k negatives, less log k, tends to E[-s+ / tau] + E log E exp(s- / tau) at a "
        "known rate 1 / k, and the limit's gradient weighs negatives by softmax(s / tau).",
        Paper.CACR,
        Standing.DERIVED,
        infonce_limit,
    ),
    Claim(
        "attraction-repulsion/query-dependent",
        "More views bring attraction nearer to its true conditional",
        "Let the true conditional weigh all possible positives by exp(t+ |z - z+|^2). The weights that K random views "
        "give each other are, in expectation, uniform for K = 1 and approach it as K grows, like 1 / K (seen for 24 "
        "possible positives and three hardnesses; the paper's statement is qualitative).",
        Paper.CACR,
        Standing.RESTATED,
        query_dependent,
    ),
)
