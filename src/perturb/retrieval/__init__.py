"""How well images of one identity are found among others: CMC, mAP, mINP. Usable alone."""

from perturb.retrieval.evaluation import Retrieval, evaluate
from perturb.retrieval.reranking import Reranking

__all__ = ["Reranking", "Retrieval", "evaluate"]
