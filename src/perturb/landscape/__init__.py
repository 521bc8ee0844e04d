"""Loss landscapes and curvature of trained networks (Li et al. 2018; Yao et al. 2020)."""
